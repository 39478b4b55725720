//! A bootloader's answers to a flash read.

use espgate::bootloader::{ReadSession, SessionAction, SessionSettings, slip};

const LIMIT: u32 = 4096;

/// What a ROM sends: pieces behind a byte with their length. With the length's highest bit
/// it comes as it is, else as an answer to what was asked.
pub fn answers(bytes: &[u8]) {
    frames(bytes);
    let mut rest = bytes;
    let settings = SessionSettings {
        limit: LIMIT,
        ..SessionSettings::default()
    };
    let (mut session, mut action) = ReadSession::begin(settings);
    // each piece is an answer or noise, and then silence ends everything
    let most = 2000 + bytes.len() * 12;
    for _ in 0..most {
        action = match action {
            SessionAction::Done(outcome) => {
                if let Ok(dump) = outcome {
                    assert!(dump.bytes.len() <= LIMIT as usize);
                    assert!(dump.bytes.len() <= bytes.len());
                    assert!(dump.partition_size >= 1);
                }
                assert!(session.first_speed().is_none_or(|frame| frame.len() > 2));
                return;
            }
            SessionAction::ChangeSpeed { .. } => session.speed_changed(),
            SessionAction::Send { bytes: request, .. } => match piece(&mut rest) {
                None => session.expire(),
                Some((is_raw, piece)) => {
                    let received = match is_raw {
                        true => piece.to_vec(),
                        false => answer(&request, piece),
                    };
                    session
                        .receive(&received)
                        .unwrap_or_else(|| session.expire())
                }
            },
        };
        let progress = session.progress();
        assert!(progress.done <= progress.total || progress.total == 0);
        assert!(progress.done <= LIMIT + 64);
    }
    panic!("no end after {most} steps");
}

fn piece<'a>(rest: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let (length, after) = rest.split_first()?;
    let (piece, after) = after.split_at(after.len().min(usize::from(length & 0x7f)));
    *rest = after;
    Some((length & 0x80 != 0, piece))
}

/// An answer to `request`: four bytes of `piece` are its value, the rest data and status.
fn answer(request: &[u8], piece: &[u8]) -> Vec<u8> {
    let mut decoder = slip::Decoder::default();
    let asked = request.iter().find_map(|byte| decoder.feed(*byte));
    let opcode = asked.and_then(|asked| asked.get(1).copied()).unwrap_or(0);
    let (value, data) = piece.split_first_chunk::<4>().unwrap_or((&[0; 4], piece));
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut answer = vec![1, opcode];
    answer.extend(length.to_le_bytes());
    answer.extend(value);
    answer.extend(data);
    slip::encode(&answer)
}

/// Frames come out as they went in, and nothing makes them too long.
fn frames(bytes: &[u8]) {
    let mut decoder = slip::Decoder::default();
    let found: Vec<Vec<u8>> = bytes
        .iter()
        .filter_map(|byte| decoder.feed(*byte))
        .collect();
    assert!(
        found
            .iter()
            .all(|frame| (1..=slip::MAX_FRAME).contains(&frame.len()))
    );
    let payload = bytes
        .get(..bytes.len().min(slip::MAX_FRAME))
        .unwrap_or_default();
    let mut decoder = slip::Decoder::default();
    let mut sent = found
        .iter()
        .flat_map(|frame| slip::encode(frame))
        .collect::<Vec<_>>();
    sent.extend(slip::encode(payload));
    let mut expected = found;
    expected.extend((!payload.is_empty()).then(|| payload.to_vec()));
    let again: Vec<Vec<u8>> = sent.iter().filter_map(|byte| decoder.feed(*byte)).collect();
    assert_eq!(again, expected);
}
