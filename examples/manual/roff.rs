//! The few marks of roff's man macros that the pages need.

use std::fmt::Write;

/// A page being written.
pub(crate) struct Roff(String);

impl Roff {
    pub(crate) fn page(name: &str, section: u8) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            ".TH {} {section} \"\" \"espgate {version}\" \"espgate\"\n.nh\n.ad l",
            name.to_uppercase()
        );
        Self(text)
    }

    pub(crate) fn section(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SH {}", escaped(title));
    }

    pub(crate) fn subsection(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SS \"{}\"", escaped(title).replace('"', "\\(dq"));
    }

    /// Terms that share one explanation.
    pub(crate) fn terms(&mut self, terms: &[String], explanation: &str) {
        for (index, term) in terms.iter().enumerate() {
            let mark = if index == 0 { ".TP" } else { ".TQ" };
            let _ = writeln!(self.0, "{mark}\n\\fB{}\\fR", escaped(term));
        }
        self.lines(explanation);
    }

    /// A paragraph of its own.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.0.push_str(".PP\n");
        self.lines(text);
    }

    /// Text as it is, line by line.
    pub(crate) fn verbatim(&mut self, text: &str) {
        self.0.push_str(".PP\n.nf\n");
        self.lines(text);
        self.0.push_str(".fi\n");
    }

    pub(crate) fn lines(&mut self, text: &str) {
        for line in text.lines() {
            match escaped(line) {
                line if line.trim().is_empty() => self.0.push_str(".sp\n"),
                line if line.starts_with(['.', '\'']) => {
                    let _ = writeln!(self.0, "\\&{line}");
                }
                line => {
                    let _ = writeln!(self.0, "{line}");
                }
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}
