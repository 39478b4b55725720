//! Whether an application image is whole: segments, checksum, appended SHA-256.

use std::fmt;

use sha2::Digest as _;

use super::app_image::IMAGE_MAGIC;
use crate::digest::Sha256;

/// What a bootloader would reject an image for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The header is foreign, a segment impossible, or the end missing.
    NotWhole,
    /// The XOR over all segments does not fit the checksum byte.
    Checksum,
    /// The SHA-256 behind the checksum is not that of the image.
    Digest,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWhole => "not a whole ESP image",
            Self::Checksum => "image checksum wrong",
            Self::Digest => "appended SHA-256 wrong",
        })
    }
}

/// The outcome of a [`Check`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Soundness {
    /// How many bytes were fed.
    pub size: u64,
    /// The digest of all bytes that were fed.
    pub sha256: Sha256,
    /// The MD5 of all bytes that were fed, which update clients compare with.
    pub md5: [u8; 16],
    /// The SHA-256 behind the checksum, as it stands there.
    pub appended: Option<Sha256>,
    /// What is wrong; empty for a sound image.
    pub faults: Vec<Fault>,
}

/// Reads an image once, front to back, in pieces of any size; holds 32 bytes of it at most.
pub struct Check {
    hasher: sha2::Sha256,
    md5: md5::Md5,
    appended: Option<Sha256>,
    fed: u64,
    state: State,
    /// The bytes of the small record that is being read.
    record: Vec<u8>,
    segments_left: u8,
    hash_appended: bool,
    checksum: u8,
    faults: Vec<Fault>,
}

enum State {
    Header,
    SegmentHeader,
    SegmentData {
        left: u32,
    },
    /// Padding; its last byte is the checksum.
    Padding,
    Digest {
        expected: [u8; 32],
    },
    /// Behind the image: secure boot signatures, or nothing.
    Behind,
    /// No image; what follows is only hashed.
    Foreign,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            hasher: sha2::Sha256::new(),
            md5: md5::Md5::new(),
            appended: None,
            fed: 0,
            state: State::Header,
            record: Vec::with_capacity(32),
            segments_left: 0,
            hash_appended: false,
            checksum: CHECKSUM_SEED,
            faults: Vec::new(),
        }
    }
}

impl Check {
    /// Takes the next bytes of the image.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wanted = match &self.state {
                State::Header => 24 - self.record.len(),
                State::SegmentHeader => 8 - self.record.len(),
                State::SegmentData { left } => usize::try_from(*left).unwrap_or(usize::MAX),
                // the checksum is the last byte of a 16-byte block, at least one byte away
                State::Padding => usize::from(16 - self.fed.to_le_bytes()[0] % 16),
                State::Digest { .. } => 32 - self.record.len(),
                State::Behind | State::Foreign => usize::MAX,
            };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.hasher.update(taken);
            self.md5.update(taken);
            self.fed += taken.len() as u64;
            self.step(taken, taken.len() == wanted);
        }
    }

    fn step(&mut self, taken: &[u8], complete: bool) {
        match &mut self.state {
            State::SegmentData { left } => {
                self.checksum = taken.iter().fold(self.checksum, |sum, byte| sum ^ byte);
                *left -= u32::try_from(taken.len()).unwrap_or(*left);
                if complete {
                    self.next_segment();
                }
            }
            State::Padding if complete => {
                if taken.last() != Some(&self.checksum) {
                    self.faults.push(Fault::Checksum);
                }
                self.state = if self.hash_appended {
                    let expected = self.hasher.clone().finalize().into();
                    State::Digest { expected }
                } else {
                    State::Behind
                };
            }
            State::Padding | State::Behind | State::Foreign => {}
            State::Header | State::SegmentHeader | State::Digest { .. } => {
                self.record.extend_from_slice(taken);
                if complete {
                    self.read_record();
                    self.record.clear();
                }
            }
        }
    }

    fn read_record(&mut self) {
        match (&self.state, self.record.as_slice()) {
            (State::Header, [IMAGE_MAGIC, count @ 1..=MAX_SEGMENTS, .., hash_appended]) => {
                self.segments_left = *count;
                self.hash_appended = *hash_appended == 1;
                self.next_segment();
            }
            (State::SegmentHeader, [_, _, _, _, l0, l1, l2, l3]) => {
                let left = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
                if left % 4 != 0 || left >= MAX_SEGMENT_BYTES {
                    self.state = State::Foreign;
                } else if left == 0 {
                    self.next_segment();
                } else {
                    self.state = State::SegmentData { left };
                }
            }
            (State::Digest { expected }, found) => {
                self.appended = <[u8; 32]>::try_from(found).ok().map(Sha256::from_bytes);
                if found != expected {
                    self.faults.push(Fault::Digest);
                }
                self.state = State::Behind;
            }
            _ => self.state = State::Foreign,
        }
    }

    fn next_segment(&mut self) {
        self.state = match self.segments_left.checked_sub(1) {
            Some(left) => {
                self.segments_left = left;
                State::SegmentHeader
            }
            None => State::Padding,
        };
    }

    /// Says what was found, once all bytes were fed.
    pub fn finish(mut self) -> Soundness {
        if !matches!(self.state, State::Behind) {
            self.faults.push(Fault::NotWhole);
        }
        Soundness {
            size: self.fed,
            sha256: Sha256::from_bytes(self.hasher.finalize().into()),
            md5: self.md5.finalize().into(),
            appended: self.appended,
            faults: self.faults,
        }
    }
}

/// `ESP_ROM_CHECKSUM_INITIAL`
const CHECKSUM_SEED: u8 = 0xEF;
/// `ESP_IMAGE_MAX_SEGMENTS`
const MAX_SEGMENTS: u8 = 16;
/// Segments are shorter than this, as ESP-IDF's bootloader has it.
const MAX_SEGMENT_BYTES: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(segments: &[&[u8]]) -> Vec<u8> {
        let mut image = vec![0; 24];
        image[0] = 0xE9;
        image[1] = segments.len().try_into().unwrap();
        image[23] = 1;
        let mut checksum = 0xEF;
        for data in segments {
            image.extend([0; 4]);
            image.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            image.extend(*data);
            checksum = data.iter().fold(checksum, |sum, byte| sum ^ byte);
        }
        image.resize(image.len() / 16 * 16 + 15, 0);
        image.push(checksum);
        let digest = Sha256::of(&image);
        image.extend(digest.as_bytes());
        image
    }

    fn faults(bytes: &[u8], piece: usize) -> Vec<Fault> {
        let mut check = Check::default();
        bytes.chunks(piece).for_each(|piece| check.feed(piece));
        let outcome = check.finish();
        assert_eq!(outcome.sha256, Sha256::of(bytes));
        assert_eq!(outcome.size, bytes.len() as u64);
        outcome.faults
    }

    #[test]
    fn a_sound_image_has_no_fault_however_it_is_cut() {
        let image = image(&[b"abcd", b"", &[7; 36]]);
        for piece in 1..=image.len() {
            assert_eq!(faults(&image, piece), [], "pieces of {piece}");
        }
    }

    #[test]
    fn signatures_behind_the_image_are_no_fault() {
        let mut image = image(&[b"abcd"]);
        image.extend([9; 4096]);
        assert_eq!(faults(&image, 100), []);
    }

    #[test]
    fn every_flipped_data_bit_breaks_checksum_and_digest() {
        let mut image = image(&[b"abcd"]);
        image[34] ^= 4;
        assert_eq!(faults(&image, 7), [Fault::Checksum, Fault::Digest]);
    }

    #[test]
    fn a_changed_header_breaks_the_digest_alone() {
        let mut image = image(&[b"abcd"]);
        image[3] ^= 4;
        assert_eq!(faults(&image, 7), [Fault::Digest]);
    }

    #[test]
    fn every_cut_image_is_not_whole() {
        let image = image(&[b"abcd", &[7; 36]]);
        for length in 0..image.len() {
            let found = faults(&image[..length], 16);
            assert_eq!(found, [Fault::NotWhole], "cut to {length}");
        }
    }

    #[test]
    fn impossible_segments_are_no_image() {
        let mut odd = image(&[b"abcd"]);
        odd[28] = 3;
        let mut huge = image(&[b"abcd"]);
        huge[31] = 1;
        let mut none = image(&[]);
        none[1] = 0;
        let mut foreign = image(&[b"abcd"]);
        foreign[0] = 0x7F;
        for bytes in [odd, huge, none, foreign] {
            assert_eq!(faults(&bytes, 16), [Fault::NotWhole]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_get_one_answer(mut bytes: Vec<u8>, piece in 1_usize..40) {
            if let Some(first) = bytes.first_mut() {
                *first = 0xE9;
            }
            prop_assert_eq!(faults(&bytes, piece), faults(&bytes, usize::MAX));
        }
    }
}
