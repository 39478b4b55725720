//! Ids of crash groups: `c` and five of `0-9a-hjkmnp-tv-z`, chosen at random.

use crate::digest::Sha256;

/// Without i, l, o and u, which are taken for others or make words.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An id that is not `taken`.
pub(super) fn new(taken: impl Fn(&str) -> bool) -> String {
    loop {
        let mut bytes = [0_u8; 5];
        // without a random source the next try may have one; ids are not secret
        if getrandom::fill(&mut bytes).is_err() {
            continue;
        }
        let id = spelled(&bytes);
        if !taken(&id) {
            return id;
        }
    }
}

/// The id that is always the same for these words.
pub(super) fn of(words: &[&str]) -> String {
    let digest = Sha256::of(words.join("\0").as_bytes());
    spelled(digest.as_bytes().split_at(5).0)
}

fn spelled(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| {
        let at = usize::from(byte % 32);
        ALPHABET.get(at).map_or('0', |letter| char::from(*letter))
    });
    std::iter::once('c').chain(digits).collect()
}

/// Whether `text` has the form of an id, so that it is safe in a file's name.
pub fn is_valid(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() == 6 && bytes.next() == Some(b'c') && bytes.all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form_and_differ() {
        let mut ids = std::collections::HashSet::new();
        for _ in 0..1000 {
            let id = new(|id| ids.contains(id));
            assert!(is_valid(&id), "{id}");
            assert!(ids.insert(id));
        }
        let lamp = of(&["other", "lamp"]);
        assert!(is_valid(&lamp), "{lamp}");
        assert_eq!(lamp, of(&["other", "lamp"]));
        assert_ne!(lamp, of(&["other", "door"]));
        for no in ["", "c", "c0000u", "C00000", "c000000", "d00000", "c/../x"] {
            assert!(!is_valid(no), "{no}");
        }
    }
}
