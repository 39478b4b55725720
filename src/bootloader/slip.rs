//! SLIP framing (RFC 1055), bounded: frames begin and end with 0xC0.

/// Longest frame kept; the ROM's longest answer to what we ask has 76 bytes.
pub const MAX_FRAME: usize = 1024;

const END: u8 = 0xC0;
const ESCAPE: u8 = 0xDB;
const ESCAPED_END: u8 = 0xDC;
const ESCAPED_ESCAPE: u8 = 0xDD;

/// `payload` as a frame on the wire.
pub fn encode(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 8);
    frame.push(END);
    for byte in payload {
        match *byte {
            END => frame.extend([ESCAPE, ESCAPED_END]),
            ESCAPE => frame.extend([ESCAPE, ESCAPED_ESCAPE]),
            other => frame.push(other),
        }
    }
    frame.push(END);
    frame
}

/// Takes frames out of a stream of bytes.
///
/// Every 0xC0 both ends a frame and begins one, so noise between two frames
/// becomes a frame of its own, which is ignored, and the decoder stays in
/// step. What precedes the first 0xC0, broken escapes and
/// frames longer than [`MAX_FRAME`] are skipped.
#[derive(Debug, Default)]
pub struct Decoder {
    frame: Vec<u8>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Skipping,
    Inside,
    Escaped,
}

impl Decoder {
    /// Takes one byte; the payload of a frame if that was its end.
    pub fn feed(&mut self, byte: u8) -> Option<Vec<u8>> {
        if byte == END {
            let whole = matches!(self.state, State::Inside) && !self.frame.is_empty();
            self.state = State::Inside;
            let frame = std::mem::take(&mut self.frame);
            return whole.then_some(frame);
        }
        self.state = match (&self.state, byte) {
            (State::Skipping, _) => return None,
            (State::Inside, ESCAPE) => State::Escaped,
            (State::Inside, plain) => self.keep(plain),
            (State::Escaped, ESCAPED_END) => self.keep(END),
            (State::Escaped, ESCAPED_ESCAPE) => self.keep(ESCAPE),
            (State::Escaped, _) => State::Skipping,
        };
        None
    }

    fn keep(&mut self, byte: u8) -> State {
        if self.frame.len() >= MAX_FRAME {
            self.frame.clear();
            return State::Skipping;
        }
        self.frame.push(byte);
        State::Inside
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|b| decoder.feed(*b)).collect()
    }

    #[test]
    fn the_two_special_bytes_are_escaped() {
        assert_eq!(
            encode(&[1, 0xC0, 0xDB]),
            [0xC0, 1, 0xDB, 0xDC, 0xDB, 0xDD, 0xC0]
        );
    }

    #[test]
    fn boot_text_before_the_first_frame_is_skipped() {
        assert_eq!(frames(b"waiting for download\r\n\xC0ab\xC0"), [b"ab"]);
    }

    #[test]
    fn noise_between_frames_costs_no_frame() {
        assert_eq!(
            frames(b"\xC0ab\xC0noise\xC0cd\xC0\xC0ef\xC0"),
            [&b"ab"[..], b"noise", b"cd", b"ef"]
        );
    }

    #[test]
    fn a_broken_escape_loses_its_own_frame_only() {
        assert_eq!(frames(b"\xC0a\xDBx\xC0cd\xC0"), [b"cd"]);
    }

    #[test]
    fn an_endless_frame_is_given_up() {
        let mut bytes = vec![0xC0];
        bytes.extend(std::iter::repeat_n(7, 10 * MAX_FRAME));
        bytes.extend(b"\xC0ok\xC0");
        assert_eq!(frames(&bytes), [b"ok"]);
    }

    proptest! {
        #[test]
        fn any_payload_comes_back(payload in prop::collection::vec(any::<u8>(), 1..MAX_FRAME)) {
            prop_assert_eq!(frames(&encode(&payload)), vec![payload]);
        }

        #[test]
        fn no_bytes_yield_a_frame_past_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..4 * MAX_FRAME),
        ) {
            prop_assert!(frames(&bytes).iter().all(|frame| frame.len() <= MAX_FRAME));
        }
    }
}
