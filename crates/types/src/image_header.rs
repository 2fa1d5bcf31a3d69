//! What kind of image a file is and how large, read from its first bytes.
//!
//! The coordinator prices an image by its size, so the size that counts is the one in the file, not the one
//! the backend was asked for. Nothing is decoded; what is not a PNG, JPEG or WebP is not an image here.

/// Format and size of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// `png`, `jpeg` or `webp`.
    pub format: &'static str,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Reads the header; `None` if this is no image, or one without extent.
#[must_use]
pub fn read(file: &[u8]) -> Option<ImageHeader> {
    let (format, (width, height)) = if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("png", png(file)?)
    } else if file.starts_with(&[0xff, 0xd8, 0xff]) {
        ("jpeg", jpeg(file)?)
    } else if file.starts_with(b"RIFF") && file.get(8..12)? == b"WEBP" {
        ("webp", webp(file)?)
    } else {
        return None;
    };
    (width > 0 && height > 0).then_some(ImageHeader { format, width, height })
}

fn png(file: &[u8]) -> Option<(u32, u32)> {
    if file.get(12..16)? != b"IHDR" {
        return None;
    }
    Some((u32::from_be_bytes(array(file, 16)?), u32::from_be_bytes(array(file, 20)?)))
}

/// Walks the segments up to the frame header, which carries the size.
fn jpeg(file: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        if *file.get(at)? != 0xff {
            return None;
        }
        let marker = *file.get(at + 1)?;
        match marker {
            // Any number of fill bytes may stand before a marker.
            0xff => at += 1,
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => at += 2,
            // Image data or the end, and still no frame header.
            0xd9 | 0xda => return None,
            // All frame headers; C4, C8 and CC are tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let height = u16::from_be_bytes(array(file, at + 5)?);
                let width = u16::from_be_bytes(array(file, at + 7)?);
                return Some((width.into(), height.into()));
            }
            _ => at += 2 + usize::from(u16::from_be_bytes(array(file, at + 2)?)),
        }
    }
}

fn webp(file: &[u8]) -> Option<(u32, u32)> {
    match file.get(12..16)? {
        // Lossy: frame tag (3 bytes), start code, then 14 bits each.
        b"VP8 " if file.get(23..26)? == [0x9d, 0x01, 0x2a] => {
            let side = |at| Some(u32::from(u16::from_le_bytes(array(file, at)?)) & 0x3fff);
            Some((side(26)?, side(28)?))
        }
        // Lossless: signature, then 14 bits each, both less one.
        b"VP8L" if *file.get(20)? == 0x2f => {
            let bits = u32::from_le_bytes(array(file, 21)?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        // Extended: 24 bits each, both less one.
        b"VP8X" => {
            let side = |at| {
                let [low, middle, high] = array(file, at)?;
                Some(u32::from_le_bytes([low, middle, high, 0]) + 1)
            };
            Some((side(24)?, side(27)?))
        }
        _ => None,
    }
}

fn array<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x01\0\x08\x02\0\0\0";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc4\0\x02\xff\xc2\0\x0b\x08\x01\0\x02\0\x03";
    const VP8: &[u8] = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\0\x42\0\x81";
    const VP8L: &[u8] = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xc1\x3f\x00";
    const VP8X: &[u8] = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\xff\x01\0\xff\0\0";

    #[test]
    fn sizes_are_read() {
        let cases = [
            (PNG, "png", 512, 256),
            (JPEG, "jpeg", 512, 256),
            (VP8, "webp", 512, 256),
            (VP8L, "webp", 512, 256),
            (VP8X, "webp", 512, 256),
        ];
        for (file, format, width, height) in cases {
            assert_eq!(read(file), Some(ImageHeader { format, width, height }), "{format}");
        }
    }

    #[test]
    fn what_is_cut_short_is_no_image() {
        // The part of each that is needed; nothing shorter will do, and nothing panics.
        for (file, needed) in [(PNG, 24), (JPEG, 22), (VP8, 30), (VP8L, 25), (VP8X, 30)] {
            for length in 0..file.len() {
                assert_eq!(read(&file[..length]).is_some(), length >= needed, "{length} of {file:?}");
            }
        }
    }

    #[test]
    fn other_files_are_no_images() {
        let no_extent = [&PNG[..16], &[0; 8]].concat();
        let cases: [&[u8]; 7] = [
            b"",
            b"GIF89a\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"<html>nope nope nope nope nope</html>",
            b"RIFF\0\0\0\0WAVEfmt \0\0\0\0\0\0\0\0\0\0\0\0",
            b"\xff\xd8\xff\xda\0\x04ab",
            b"\xff\xd8\xff\xe0\xff\xff",
            &no_extent,
        ];
        for file in cases {
            assert_eq!(read(file), None, "{file:?}");
        }
    }
}
