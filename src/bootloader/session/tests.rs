//! Whatever a ROM answers, a session ends; a lost one is continued.

use proptest::prelude::*;

use super::*;

/// One answer: how the status begins, the value, data, and its frame's
/// damage.
type Reply = (u8, u32, Vec<u8>, Option<usize>);

fn reply() -> impl Strategy<Value = Reply> {
    let length = prop_oneof![Just(0), Just(12), Just(20), Just(64), 0..100_usize];
    let word = prop_oneof![
        Just(0),
        Just(5),
        Just(0x00F0_1D83),
        Just(0x07C6),
        any::<u32>()
    ];
    let data = length.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let cut = prop::option::weighted(0.1, 0..100_usize);
    (prop_oneof![9 => Just(0), 1 => Just(1)], word, data, cut)
}

/// `reply` to the request in `bytes`, on the wire.
fn answer(bytes: &[u8], (status, value, data, cut): &Reply) -> Vec<u8> {
    let mut frame = vec![1, bytes[2]];
    frame.extend(u16::try_from(data.len() + 4).unwrap().to_le_bytes());
    frame.extend(value.to_le_bytes());
    frame.extend(data);
    frame.extend([*status, 5, 0, 0]);
    let mut wire = crate::bootloader::slip::encode(&frame);
    wire.truncate(cut.unwrap_or(wire.len()));
    wire
}

proptest! {
    #[test]
    fn whatever_a_rom_answers_the_session_comes_to_an_end(
        replies in prop::collection::vec(reply(), 0..200),
    ) {
        let (mut session, mut action) = ReadSession::begin(SessionSettings::default());
        let mut replies = replies.iter();
        for _ in 0..10_000 {
            action = match action {
                SessionAction::Send { bytes, .. } => {
                    let arrived = replies.next().map(|reply| answer(&bytes, reply));
                    let next = arrived.and_then(|wire| session.receive(&wire));
                    next.unwrap_or_else(|| session.expire())
                }
                SessionAction::ChangeSpeed { .. } => session.speed_changed(),
                SessionAction::Done(_) => return Ok(()),
            };
        }
        prop_assert!(false, "still busy");
    }
}
