//! A map with few keys, in their order.
//!
//! A broker looks up a handful of partitions, fetchers and connections at every request and rarely gains
//! or loses one. Keys that lie side by side are compared in a few instructions; a tree would follow
//! pointers for each.

/// Up to so many keys are looked at one after the other, more of them by halving.
const FEW: usize = 16;

/// See the module head.
#[derive(Debug)]
pub struct SortedMap<K, V> {
    /// Sorted; the value of each is at the same place.
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap {
            keys: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<K: Copy + Ord, V> SortedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        SortedMap::default()
    }

    /// Where a key is, until one is inserted or removed.
    #[inline]
    pub fn position(&self, key: K) -> Option<usize> {
        if self.keys.len() <= FEW {
            self.keys.iter().position(|known| *known == key)
        } else {
            self.keys.binary_search(&key).ok()
        }
    }

    /// The same where the key is likely to be at `near`, as with keys that are asked for in order.
    #[inline]
    pub fn position_near(&self, near: usize, key: K) -> Option<usize> {
        match self.keys.get(near) {
            Some(known) if *known == key => Some(near),
            _ => self.position(key),
        }
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: K) -> Option<&V> {
        self.position(key).map(|at| &self.values[at])
    }

    /// The value of a key, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.position(key).map(|at| &mut self.values[at])
    }

    /// The value at a position.
    #[inline]
    pub fn at(&self, position: usize) -> &V {
        &self.values[position]
    }

    /// The value at a position, to change it.
    #[inline]
    pub fn at_mut(&mut self, position: usize) -> &mut V {
        &mut self.values[position]
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: K) -> bool {
        self.position(key).is_some()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.keys.binary_search(&key) {
            Ok(at) => self.values[at] = value,
            Err(at) => {
                self.keys.insert(at, key);
                self.values.insert(at, value);
            }
        }
    }

    /// Takes the value of a key out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let at = self.position(key)?;
        self.keys.remove(at);
        Some(self.values.remove(at))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.keys.iter().copied()
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.values.iter()
    }

    /// The values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.iter_mut()
    }

    /// Keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.keys().zip(&self.values)
    }

    /// Keys with their values, to change these.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.keys.iter().copied().zip(&mut self.values)
    }
}

impl<K: Copy + Ord + std::fmt::Debug, V> std::ops::Index<K> for SortedMap<K, V> {
    type Output = V;

    /// # Panics
    /// Where the key has no value.
    #[inline]
    fn index(&self, key: K) -> &V {
        self.get(key)
            .unwrap_or_else(|| panic!("{key:?} is not in the map"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_among_few_and_among_many() {
        for count in [3, FEW as i32 + 1, 40] {
            let mut map = SortedMap::new();
            for key in (0..count).rev() {
                map.insert(key * 2, -1);
                map.insert(key * 2, key);
            }
            assert_eq!(map.keys().count(), count as usize);
            assert!(map.keys().is_sorted());
            assert!(map.iter().all(|(key, value)| key == value * 2));
            for key in 0..count {
                assert_eq!(map.get(key * 2), Some(&key));
                *map.get_mut(key * 2).expect("inserted") += 1;
                assert_eq!(map[key * 2], key + 1);
                let at = map.position(key * 2).expect("inserted");
                assert_eq!(map.position_near(at, key * 2), Some(at));
                assert_eq!(map.position_near(at + 1, key * 2), Some(at));
                assert_eq!(map.position_near(at, key * 2 + 1), None);
                assert_eq!((*map.at(at), *map.at_mut(at)), (key + 1, key + 1));
                assert!(!map.contains(key * 2 + 1) && map.remove(key * 2 + 1).is_none());
            }
            for key in 0..count {
                assert_eq!(map.remove(key * 2), Some(key + 1));
                assert!(!map.contains(key * 2));
            }
            assert!(map.is_empty());
        }
    }
}
