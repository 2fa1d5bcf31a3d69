//! Names of regions and models as small numbers, so that indexes compare numbers and every name is kept once.
//!
//! A name is known as long as an ask or a waiting job uses it. Numbers are never used again; they decide nothing
//! that can be seen from outside.

use std::collections::BTreeMap;

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(u64);

impl Name {
    /// Stands for "whatever it is", on both sides.
    pub(crate) const ANY: Self = Self(0);
    /// A name that nothing in the book uses.
    const UNUSED: Self = Self(u64::MAX);
}

#[derive(Clone, Debug)]
struct Use {
    name: Name,
    times: usize,
}

/// The names in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    used: BTreeMap<Box<str>, Use>,
    last: u64,
}

impl Names {
    /// The number of a wish, without making the name known.
    pub(crate) fn find(&self, text: Option<&str>) -> Name {
        match text {
            None => Name::ANY,
            Some(text) => self.used.get(text).map_or(Name::UNUSED, |used| used.name),
        }
    }

    /// The number of a name that is used once more from now on.
    pub(crate) fn take(&mut self, text: &str) -> Name {
        if let Some(used) = self.used.get_mut(text) {
            used.times += 1;
            return used.name;
        }
        self.last += 1;
        let name = Name(self.last);
        self.used.insert(text.into(), Use { name, times: 1 });
        name
    }

    /// A name is used once less. Without this every name that was ever used would stay.
    pub(crate) fn give_back(&mut self, text: &str) {
        if let Some(used) = self.used.get_mut(text) {
            used.times -= 1;
            if used.times == 0 {
                self.used.remove(text);
            }
        }
    }

    /// How many are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }
}
