//! What closures leave behind for later closures on the same connection.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// One value of each type. Values say when they were put here, so that those of work that was taken back can be dropped.
#[derive(Default)]
pub struct Memory {
    values: HashMap<TypeId, (u64, Box<dyn Any + Send>)>,
    now: u64,
}

impl Memory {
    pub fn take<T: Send + 'static>(&mut self) -> Option<T> {
        let (_, value) = self.values.remove(&TypeId::of::<T>())?;
        value.downcast().ok().map(|value| *value)
    }

    pub fn put<T: Send + 'static>(&mut self, value: T) {
        self.values.insert(TypeId::of::<T>(), (self.now, Box::new(value)));
    }

    /// A moment to which [`Memory::forget_since`] can go back.
    pub fn mark(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Drops what was put here since `mark`: it may describe rows that were taken back.
    pub fn forget_since(&mut self, mark: u64) {
        self.values.retain(|_, (put, _)| *put < mark);
    }

    /// Drops everything: the connection is another one now.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} values)", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn what_was_put_since_a_mark_is_forgotten() {
        let mut memory = Memory::default();
        memory.put(1_u8);
        let mark = memory.mark();
        memory.put(String::from("later"));
        memory.forget_since(mark);
        assert_eq!(memory.take::<String>(), None);
        assert_eq!(memory.take::<u8>(), Some(1));
        assert_eq!(memory.take::<u8>(), None);
    }
}
