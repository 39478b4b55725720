//! Secrets that go on beyond one line: private keys in PEM blocks, and what the
//! splitter cut in two.

use super::mask::{Masks, masked};

/// Masks one line after the other.
#[derive(Default)]
pub(super) struct Redactor {
    /// How many more lines a private key may have.
    key_lines: usize,
    /// The last piece of a line of which more will come.
    piece: Option<Piece>,
}

struct Piece {
    end: String,
    secret: bool,
}

impl Redactor {
    /// `line` as it may be shown; whether it continues the one before, and the
    /// next one continues it.
    pub(super) fn apply(
        &mut self,
        masks: &Masks,
        line: &str,
        (continues, cut): (bool, bool),
    ) -> String {
        let (mut text, secret) = match self.piece.take().filter(|_| continues) {
            Some(piece) => (piece.end, piece.secret),
            None => (String::new(), false),
        };
        let start = text.len();
        text.push_str(line);
        let mut spans = masks.spans(&text);
        spans.extend(self.key_span(&text));
        if secret {
            spans.push((start, text.len()));
        }
        for span in &mut spans {
            span.0 = span.0.max(start);
        }
        spans.retain(|(from, to)| from < to);
        if cut {
            self.piece = Some(Piece {
                end: text.get(end_from(&text)..).unwrap_or_default().to_owned(),
                secret: !spans.is_empty(),
            });
        }
        if spans.is_empty() {
            return line.to_owned();
        }
        spans.sort_unstable();
        let shown = masked(&text, &spans);
        shown.get(start..).unwrap_or_default().to_owned()
    }

    /// Something else is being printed, whatever was missed.
    pub(super) fn key_is_over(&mut self) {
        self.key_lines = 0;
    }

    /// What of `line` lies between a private key's BEGIN and END.
    fn key_span(&mut self, line: &str) -> Option<(usize, usize)> {
        let start = if self.key_lines > 0 {
            self.key_lines -= 1;
            0
        } else {
            let begin = line.find("-----BEGIN ")?;
            let label = line.get(begin..)?.find(KEY)?;
            self.key_lines = MOST_KEY_LINES;
            begin + label + KEY.len()
        };
        let end = line.get(start..)?.find("-----END ");
        if end.is_some() {
            self.key_lines = 0;
        }
        Some((start, end.map_or(line.len(), |end| start + end)))
    }
}

/// From where on the end of `text` is kept: a name may have begun there.
fn end_from(text: &str) -> usize {
    let at = text.len().saturating_sub(PIECE_END);
    (at..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

const KEY: &str = "PRIVATE KEY-----";
/// RSA with 8192 bits.
const MOST_KEY_LINES: usize = 110;
const PIECE_END: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[(&str, bool)]) -> Vec<String> {
        let mut redactor = Redactor::default();
        let mut continues = false;
        let mut shown = |(line, cut): &(&str, bool)| {
            let before = std::mem::replace(&mut continues, *cut);
            redactor.apply(&Masks::default(), line, (before, *cut))
        };
        lines.iter().map(&mut shown).collect()
    }

    #[test]
    fn private_keys_are_masked_from_their_begin_to_their_end() {
        let block = [
            "I (1) tls: -----BEGIN EC PRIVATE KEY-----",
            "MHcCAQEEIB",
            "I (2) tls: AwEHoUQ=",
            "-----END EC PRIVATE KEY-----",
            "I (3) tls: done",
            "-----BEGIN PRIVATE KEY-----MHcC-----END PRIVATE KEY----- ok",
            "-----BEGIN CERTIFICATE-----",
            "MIIB",
        ];
        let expected = [
            "I (1) tls: -----BEGIN EC PRIVATE KEY-----",
            "***",
            "***",
            "-----END EC PRIVATE KEY-----",
            "I (3) tls: done",
            "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY----- ok",
            "-----BEGIN CERTIFICATE-----",
            "MIIB",
        ];
        assert_eq!(shown(&block.map(|line| (line, false))), expected);
    }

    #[test]
    fn a_key_without_its_end_does_not_hide_the_log_for_ever() {
        let mut lines = vec![("-----BEGIN PRIVATE KEY-----", false)];
        lines.resize(200, ("I (1) a: b", false));
        let masked = shown(&lines).into_iter().filter(|line| line == "***");
        assert_eq!(masked.count(), MOST_KEY_LINES);
    }

    #[test]
    fn the_rest_of_a_cut_line_is_masked_like_its_beginning() {
        for (first, rest, expected) in [
            ("password=ab", "cdef", "***"),
            ("a token=\"x\" b", "anything", "***"),
            ("xx passw", "ord=secret", "ord=***"),
            ("xx password", " : secret", " : ***"),
            ("mqtt://me:se", "cret@host up", "***@host up"),
            ("nothing", " of note", " of note"),
        ] {
            let lines = shown(&[(first, true), (rest, false), ("after", false)]);
            assert_eq!(lines[1..], [expected, "after"], "{first}|{rest}");
        }
    }
}
