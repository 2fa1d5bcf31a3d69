//! The demo's images: waves of colour with the word DEMO across. Integers only, so that every machine draws the
//! same.

/// The longest side, in pixels.
pub(super) const MAX_SIDE: u32 = 4096;

/// Letters of five by seven pixels, the leftmost in the highest of five bits.
const LETTERS: [[u8; 7]; 4] = [
    [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110],
    [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
    [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001],
    [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
];
/// The word with a margin of one around it: four letters of five, with one between.
const WORD_WIDTH: u32 = 25;
const WORD_HEIGHT: u32 = 9;
/// The longest wave, in pixels.
const LONGEST_WAVE: u32 = 256;

/// Draws a PNG; the same pattern number gives the same picture.
pub(super) fn draw(width: u32, height: u32, pattern: u64) -> Result<Vec<u8>, png::EncodingError> {
    let waves: [Wave; 3] =
        std::array::from_fn(|channel| Wave::new(pattern.rotate_left([0, 21, 42][channel])));
    let scale = (width / WORD_WIDTH).min(height / WORD_HEIGHT).max(1);
    let (left, top) =
        (width.saturating_sub(WORD_WIDTH * scale) / 2, height.saturating_sub(WORD_HEIGHT * scale) / 2);
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let in_word = |at: u32, from: u32| at.checked_sub(from).map(|inside| inside / scale);
            match in_word(x, left).zip(in_word(y, top)).and_then(|(column, row)| word(column, row)) {
                Some(true) => pixels.extend_from_slice(&[255, 255, 255]),
                Some(false) => pixels.extend_from_slice(&[0, 0, 0]),
                None => pixels.extend(waves.iter().map(|wave| wave.at(x, y))),
            }
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.add_text_chunk("Comment".to_owned(), "Drawn by a demo Island; no model ran.".to_owned())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

/// Whether a point of the word's field is ink; `None` outside of it.
fn word(column: u32, row: u32) -> Option<bool> {
    if column >= WORD_WIDTH || row >= WORD_HEIGHT {
        return None;
    }
    let ink = || {
        let (column, row) = (column.checked_sub(1)?, row.checked_sub(1)?);
        let letter = LETTERS.get(usize::try_from(column / 6).ok()?)?;
        let bit = 4_u32.checked_sub(column % 6)?;
        Some(letter.get(usize::try_from(row).ok()?)? >> bit & 1 == 1)
    };
    Some(ink().unwrap_or(false))
}

/// One colour's brightness over the picture.
struct Wave {
    across: u32,
    down: u32,
    length: u32,
}

impl Wave {
    fn new(pattern: u64) -> Self {
        let [across, down, length, ..] = pattern.to_le_bytes().map(u32::from);
        Self { across: across % 5, down: 1 + down % 4, length: LONGEST_WAVE - length / 2 }
    }

    /// Up to full and down again, in one length.
    fn at(&self, x: u32, y: u32) -> u8 {
        let position = (x * self.across + y * self.down) % self.length * 510 / self.length;
        u8::try_from(if position > 255 { 510 - position } else { position }).unwrap_or(255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::image_header::{self, ImageHeader};

    fn decode(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn pictures_are_real_and_of_the_size() {
        for (width, height) in [(1, 1), (7, 300), (64, 64), (1024, 256)] {
            let file = draw(width, height, 7).unwrap();
            assert_eq!(image_header::read(&file), Some(ImageHeader { format: "png", width, height }));
            let (decoded_width, decoded_height, pixels) = decode(&file);
            assert_eq!((decoded_width, decoded_height), (width, height));
            assert_eq!(u32::try_from(pixels.len()).unwrap(), width * height * 3);
        }
    }

    #[test]
    fn the_pattern_decides() {
        assert_eq!(draw(32, 32, 1).unwrap(), draw(32, 32, 1).unwrap());
        assert_ne!(draw(32, 32, 1).unwrap(), draw(32, 32, 2).unwrap());
    }

    #[test]
    fn the_word_can_be_read() {
        let (width, _, pixels) = decode(&draw(WORD_WIDTH, WORD_HEIGHT, 3).unwrap());
        let rows: Vec<String> = pixels
            .chunks(usize::try_from(width * 3).unwrap())
            .map(|row| row.chunks(3).map(|pixel| if pixel == [255; 3] { '#' } else { ' ' }).collect())
            .collect();
        assert_eq!(
            rows,
            [
                "                         ",
                " ####  ##### #   #  ###  ",
                " #   # #     ## ## #   # ",
                " #   # #     # # # #   # ",
                " #   # ####  # # # #   # ",
                " #   # #     #   # #   # ",
                " #   # #     #   # #   # ",
                " ####  ##### #   #  ###  ",
                "                         ",
            ]
        );
    }

    /// A sixteenth of the largest, with a sixteenth of the space: the largest takes long without optimisation.
    #[test]
    fn the_largest_fits_a_frame() {
        assert!(draw(MAX_SIDE / 4, MAX_SIDE / 4, u64::MAX).unwrap().len() < 12_000_000 / 16);
    }
}
