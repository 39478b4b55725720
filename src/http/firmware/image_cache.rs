//! Keeps small images in memory while they are downloaded, so that a rollout to a
//! fleet reads the disk once.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::digest::Sha256;

/// Larger images are read from their file block by block; applications are
/// smaller, since two of them have to fit into the flash.
const MAX_IMAGE: u64 = 8 * 1024 * 1024;
/// All images in memory together; of more builds at once the others are read
/// from their files.
const MAX_IMAGES: u64 = 32 * 1024 * 1024;

/// Images being sent; an image is freed with its last download.
#[derive(Debug, Default)]
pub struct ImageCache(Mutex<HashMap<Sha256, Weak<Vec<u8>>>>);

impl ImageCache {
    /// The image in memory, read from `file` if nobody is downloading it yet;
    /// `None` for a large one, or one that cannot be read.
    pub fn share(&self, digest: Sha256, file: &File, size: u64) -> Option<Arc<Vec<u8>>> {
        if size > MAX_IMAGE {
            return None;
        }
        let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = images.get(&digest).and_then(Weak::upgrade) {
            return Some(image);
        }
        images.retain(|_, image| image.strong_count() > 0);
        let held: usize = images
            .values()
            .filter_map(Weak::upgrade)
            .map(|image| image.len())
            .sum();
        if held as u64 + size > MAX_IMAGES {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let image = Arc::new(bytes);
        images.insert(digest, Arc::downgrade(&image));
        Some(image)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn downloads_at_the_same_time_share_one_copy_that_goes_with_the_last() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"image").unwrap();
        let images = ImageCache::default();
        let digest = Sha256::of(b"image");
        let first = images.share(digest, &file, 5).unwrap();
        let second = images.share(digest, &file, 5).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*first, b"image");
        drop((first, second));
        assert_eq!(images.0.lock().unwrap()[&digest].strong_count(), 0);
        assert_eq!(images.share(digest, &file, MAX_IMAGE + 1), None);
    }

    #[test]
    fn all_images_together_are_bounded() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(MAX_IMAGE).unwrap();
        let images = ImageCache::default();
        let share = |n: u64| images.share(Sha256::of(&n.to_le_bytes()), &file, MAX_IMAGE);
        let held: Vec<_> = (0..MAX_IMAGES / MAX_IMAGE).map(share).collect();
        assert!(held.iter().all(Option::is_some));
        assert_eq!(share(99), None);
        drop(held);
        assert!(share(99).is_some());
    }
}
