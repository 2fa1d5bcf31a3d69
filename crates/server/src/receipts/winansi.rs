//! The characters the built-in fonts of PDF have, and how wide they are.

/// What stands at 0x80 to 0x9f; the rest is Latin-1.
#[rustfmt::skip]
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Letters the fonts lack, and the ones that are nearest.
#[rustfmt::skip]
const NEAR: &[(&str, &str)] = &[
    ("āăą", "a"), ("ĀĂĄ", "A"), ("ćĉċč", "c"), ("ĆĈĊČ", "C"), ("ďđ", "d"), ("ĎĐ", "D"), ("ēĕėęě", "e"),
    ("ĒĔĖĘĚ", "E"), ("ĝğġģ", "g"), ("ĜĞĠĢ", "G"), ("ĥħ", "h"), ("ĤĦ", "H"), ("ĩīĭįı", "i"), ("ĨĪĬĮİ", "I"), ("ĵ", "j"),
    ("Ĵ", "J"), ("ķ", "k"), ("Ķ", "K"), ("ĺļľŀł", "l"), ("ĹĻĽĿŁ", "L"), ("ńņňŋ", "n"), ("ŃŅŇŊ", "N"), ("ōŏő", "o"),
    ("ŌŎŐ", "O"), ("ŕŗř", "r"), ("ŔŖŘ", "R"), ("śŝşș", "s"), ("ŚŜŞȘ", "S"), ("ţťŧț", "t"), ("ŢŤŦȚ", "T"),
    ("ũūŭůűų", "u"), ("ŨŪŬŮŰŲ", "U"), ("ŵ", "w"), ("Ŵ", "W"), ("ŷ", "y"), ("Ŷ", "Y"), ("źż", "z"), ("ŹŻ", "Z"),
    ("−‐‑‒", "-"), ("\u{2009}\u{202f}\u{2003}\u{2002}", " "), ("′", "'"), ("″", "\""), ("→", "->"), ("ẞ", "SS"),
    ("аА", "a"), ("бБ", "b"), ("вВ", "v"), ("гГґҐ", "g"), ("дД", "d"), ("еЕэЭ", "e"), ("ёЁ", "yo"), ("жЖ", "zh"),
    ("зЗ", "z"), ("иИыЫіІ", "i"), ("йЙ", "y"), ("кК", "k"), ("лЛ", "l"), ("мМ", "m"), ("нН", "n"), ("оО", "o"),
    ("пП", "p"), ("рР", "r"), ("сС", "s"), ("тТ", "t"), ("уУ", "u"), ("фФ", "f"), ("хХ", "kh"), ("цЦ", "ts"), ("чЧ", "ch"),
    ("шШ", "sh"), ("щЩ", "shch"), ("ъЪьЬ", ""), ("юЮ", "yu"), ("яЯ", "ya"), ("єЄ", "ye"), ("їЇ", "yi"),
    ("αάΑΆ", "a"), ("βΒ", "v"), ("γΓ", "g"), ("δΔ", "d"), ("εέΕΈ", "e"), ("ζΖ", "z"), ("ηήιίϊΐΗΉΙΊ", "i"), ("θΘ", "th"),
    ("κΚ", "k"), ("λΛ", "l"), ("μΜ", "m"), ("νΝ", "n"), ("ξΞ", "x"), ("οόΟΌωώΩΏ", "o"), ("πΠ", "p"), ("ρΡ", "r"),
    ("σςΣ", "s"), ("τΤ", "t"), ("υύϋΰΥΎ", "y"), ("φΦ", "f"), ("χΧ", "ch"), ("ψΨ", "ps"),
];

/// Text in the encoding of the fonts. What they lack becomes the nearest there is, or a question mark.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(near(c).as_bytes()),
        }
    }
    bytes
}

fn byte(c: char) -> Option<u8> {
    match c {
        ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(c)).ok(),
        // Those at the gaps of the table are control characters, and no text has them.
        c if c.is_control() => None,
        c => HIGH.iter().position(|&high| high == c).and_then(|at| u8::try_from(at + 0x80).ok()),
    }
}

fn near(c: char) -> &'static str {
    if c.is_control() {
        return " ";
    }
    // Marks that stand over the letter before them.
    if ('\u{300}'..='\u{36f}').contains(&c) {
        return "";
    }
    NEAR.iter().find(|(letters, _)| letters.contains(c)).map_or("?", |(_, near)| near)
}

/// Widths of Helvetica from the space to the tilde, in thousandths of the size.
#[rustfmt::skip]
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
];

/// How wide encoded text is at a size. Letters with marks count as ordinary ones; amounts, which are set flush right, are exact.
pub fn width(bytes: &[u8], size: f32) -> f32 {
    let one = |byte: &u8| {
        let known = byte.checked_sub(b' ').and_then(|at| WIDTHS.get(usize::from(at)));
        f32::from(known.copied().unwrap_or(556))
    };
    bytes.iter().map(one).sum::<f32>() * size / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fonts_lack_is_written_as_near_as_can_be() {
        let cases: [(&str, &[u8]); 8] = [
            ("plain (1)", b"plain (1)"),
            ("Müller €", b"M\xfcller \x80"),
            ("Łódź — Kraków", b"L\xf3dz \x97 Krak\xf3w"),
            ("Иван Щукин", b"ivan shchukin"),
            ("Αθήνα", b"athina"),
            ("漢字", b"??"),
            ("a\nb\u{0}c", b"a b c"),
            ("e\u{301}", b"e"),
        ];
        for (text, bytes) in cases {
            assert_eq!(encode(text), bytes, "{text}");
        }
        assert!((width(b"$4.99", 10.0) - 25.02).abs() < 0.001);
    }
}
