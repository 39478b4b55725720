//! Lines of limited width, escaped, with colours if wanted.

use crate::printable::escaped;

/// How much a line stands out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    Heading,
    /// What went wrong.
    Alarm,
    /// The application's own code.
    Strong,
    /// System code.
    Faint,
}

impl Tone {
    fn sequence(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Heading => Some("\u{1b}[4m"),
            Self::Alarm => Some("\u{1b}[1;31m"),
            Self::Strong => Some("\u{1b}[1m"),
            Self::Faint => Some("\u{1b}[2m"),
        }
    }
}

/// Text that grows line by line.
pub(super) struct Lines {
    text: String,
    colours: bool,
}

impl Lines {
    pub(super) fn new(colours: bool) -> Self {
        Self {
            text: String::new(),
            colours,
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A paragraph from the left edge.
    pub(super) fn put(&mut self, tone: Tone, text: &str) {
        self.hanging(tone, "", 2, text);
    }

    /// A paragraph that is indented as a whole.
    pub(super) fn indented(&mut self, tone: Tone, indent: usize, text: &str) {
        self.hanging(tone, &" ".repeat(indent), indent + 2, text);
    }

    /// `name` and what is known about it, if anything is.
    pub(super) fn fact(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.hanging(Tone::Plain, &format!("{name:<13}"), 13, value);
        }
    }

    /// A paragraph that begins with `head`; its further lines are indented.
    pub(super) fn hanging(&mut self, tone: Tone, head: &str, indent: usize, text: &str) {
        let text = escaped(text);
        let mut line = head.to_owned();
        let mut used = head.chars().count();
        let mut empty = true;
        for word in text.split(' ') {
            let mut word = word;
            let length = word.chars().count();
            if !empty && used + 1 + length > WIDTH {
                self.line(tone, &line);
                line = " ".repeat(indent);
                used = indent;
            } else if !empty {
                line.push(' ');
                used += 1;
            }
            // a word that is too long for any line is cut
            while let Some((cut, _)) = word.char_indices().nth(WIDTH - used) {
                let (piece, rest) = word.split_at(cut);
                line.push_str(piece);
                self.line(tone, &line);
                line = " ".repeat(indent);
                used = indent;
                word = rest;
            }
            line.push_str(word);
            used += word.chars().count();
            empty = false;
        }
        self.line(tone, &line);
    }

    /// A path on one line: its end, if it is too long.
    pub(super) fn path(&mut self, tone: Tone, indent: usize, path: &str) {
        let path = escaped(path);
        let room = WIDTH - indent;
        let length = path.chars().count();
        let shown = match path.char_indices().nth((length + 3).saturating_sub(room)) {
            Some((cut, _)) if length > room => {
                let end = path.get(cut..).unwrap_or_default();
                // begin with a whole folder, if one is left
                let whole = end.find('/').and_then(|slash| end.get(slash..));
                format!("...{}", whole.unwrap_or(end))
            }
            _ => path.into_owned(),
        };
        self.line(tone, &format!("{}{shown}", " ".repeat(indent)));
    }

    fn line(&mut self, tone: Tone, line: &str) {
        let line = line.trim_end();
        match tone.sequence().filter(|_| self.colours) {
            Some(sequence) => {
                self.text.push_str(sequence);
                self.text.push_str(line);
                self.text.push_str("\u{1b}[0m");
            }
            None => self.text.push_str(line),
        }
        self.text.push('\n');
    }
}

const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut lines = Lines::new(false);
        let long = "x".repeat(200);
        lines.put(Tone::Plain, &format!("a few words and {long} and {long}"));
        lines.hanging(Tone::Plain, "  #0  0x40081234 ", 7, &long);
        assert_eq!(lines.text.matches('x').count(), 601, "nothing is lost");
        lines.path(Tone::Plain, 7, &format!("/{long}/main/app.c:12"));
        lines.path(Tone::Plain, 7, &format!("/{long}.c:12"));
        let text = lines.finish();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains(".../main/app.c:12\n"), "{text}");
    }

    #[test]
    fn what_devices_say_cannot_colour_or_reorder_the_screen() {
        let mut lines = Lines::new(true);
        lines.put(Tone::Alarm, "\u{1b}[2Jgone \u{202e}txt");
        let text = lines.finish();
        assert_eq!(text, "\u{1b}[1;31m\\u{1b}[2Jgone \\u{202e}txt\u{1b}[0m\n");
    }
}
