//! Other people's words, made fit to be shown: a coordinator or a server must not write to the owner's terminal.

/// The longest text that is shown, in characters.
const MAX_CHARS: usize = 300;

/// Without control characters, and not too long.
pub(crate) fn plain(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut shown: String = text.chars().map(visible).take(MAX_CHARS).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_letters() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(plain(&"x".repeat(1000)).chars().count(), MAX_CHARS + 1);
    }
}
