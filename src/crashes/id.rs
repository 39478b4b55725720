//! Ids of crash groups: `c` and five of `0-9a-hjkmnp-tv-z`, chosen at random.

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
        let digits = bytes.iter().map(|byte| {
            let at = usize::from(byte % 32);
            ALPHABET.get(at).map_or('0', |letter| char::from(*letter))
        });
        let id: String = std::iter::once('c').chain(digits).collect();
        if !taken(&id) {
            return id;
        }
    }
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
        for no in ["", "c", "c0000u", "C00000", "c000000", "d00000", "c/../x"] {
            assert!(!is_valid(no), "{no}");
        }
    }
}
