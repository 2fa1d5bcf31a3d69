//! A sorted set that can say how many of its members come before a given one.
//!
//! Members lie in blocks of a few hundred. Counting adds up the lengths of whole blocks and then searches in one,
//! so among a million members it looks at some thousands of lengths and not at the members.

/// No block is longer. Two neighbours that fit into half of it together become one.
const BLOCK: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct Ranked<K> {
    /// In order, none empty.
    blocks: Vec<Vec<K>>,
}

impl<K> Default for Ranked<K> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<K: Copy + Ord> Ranked<K> {
    /// Adds a member, if it is not one.
    pub(crate) fn insert(&mut self, key: K) {
        // Behind the last member means into the last block.
        let at = self.block_of(key).min(self.blocks.len().saturating_sub(1));
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(vec![key]);
            return;
        };
        if let Err(place) = block.binary_search(&key) {
            block.insert(place, key);
            if block.len() > BLOCK {
                let rest = block.split_off(BLOCK / 2);
                self.blocks.insert(at + 1, rest);
            }
        }
    }

    /// Takes a member out, if it is one.
    pub(crate) fn remove(&mut self, key: K) {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(place) = block.binary_search(&key) else { return };
        block.remove(place);
        if block.is_empty() {
            self.blocks.remove(at);
        } else {
            self.join(at);
            self.join(at.wrapping_sub(1));
        }
    }

    /// How many members are less than this key, which need not be one.
    pub(crate) fn count_below(&self, key: K) -> usize {
        let at = self.block_of(key);
        let whole: usize = self.blocks[..at].iter().map(Vec::len).sum();
        whole + self.blocks.get(at).map_or(0, |block| block.partition_point(|member| *member < key))
    }

    /// The members in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = K> {
        self.blocks.iter().flatten().copied()
    }

    /// The first block that does not end before this key.
    fn block_of(&self, key: K) -> usize {
        self.blocks.partition_point(|block| block.last().is_some_and(|last| *last < key))
    }

    /// Makes one of a block and the next, if both are small.
    fn join(&mut self, at: usize) {
        let next = at.wrapping_add(1);
        if let (Some(left), Some(right)) = (self.blocks.get(at), self.blocks.get(next))
            && left.len() + right.len() <= BLOCK / 2
        {
            let right = self.blocks.remove(next);
            self.blocks[at].extend(right);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Grows to several blocks and shrinks again, in an order that is anything but sorted.
    #[test]
    fn counts_as_a_plain_set_does() {
        let mut ranked = Ranked::default();
        let mut plain = BTreeSet::new();
        let mut state = 7_u64;
        for step in 0..30_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (state >> 33) % 4000;
            // Mostly growing first, mostly shrinking later.
            if (state >> 20) % 10 < (if step < 15_000 { 7 } else { 2 }) {
                ranked.insert(key);
                plain.insert(key);
            } else {
                ranked.remove(key);
                plain.remove(&key);
            }
            if step % 50 == 0 {
                assert_eq!(ranked.count_below(key), plain.range(..key).count());
                assert_eq!(ranked.count_below(u64::MAX), plain.len());
            }
            if step % 1000 == 0 {
                assert!(ranked.iter().eq(plain.iter().copied()));
                assert!(ranked.blocks.iter().all(|block| (1..=BLOCK).contains(&block.len())));
            }
        }
        for key in 0..4000 {
            ranked.remove(key);
            assert!(ranked.blocks.windows(2).all(|pair| pair[0].len() + pair[1].len() > BLOCK / 4));
        }
        assert_eq!(ranked.blocks.len(), 0, "nothing stays");
    }
}
