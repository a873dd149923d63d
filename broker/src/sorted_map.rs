//! A map from partitions, in their order.
//!
//! A broker looks up a handful of partitions at every request and rarely gains or loses one. Keys that lie
//! side by side are compared in a few instructions; a tree would follow pointers for each.

use crate::ids::TopicPartition;

/// Up to so many keys are looked at one after the other, more of them by halving.
const FEW: usize = 16;

/// See the module head.
#[derive(Debug)]
pub struct ByPartition<V> {
    /// Sorted; the value of each is at the same place.
    keys: Vec<TopicPartition>,
    values: Vec<V>,
}

impl<V> ByPartition<V> {
    /// No partition.
    pub fn new() -> Self {
        ByPartition {
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    #[inline]
    fn position(&self, id: TopicPartition) -> Option<usize> {
        if self.keys.len() <= FEW {
            let is_it =
                |key: &TopicPartition| key.partition == id.partition && key.topic == id.topic;
            self.keys.iter().position(is_it)
        } else {
            self.keys.binary_search(&id).ok()
        }
    }

    /// The value of a partition.
    #[inline]
    pub fn get(&self, id: TopicPartition) -> Option<&V> {
        self.position(id).map(|at| &self.values[at])
    }

    /// The value of a partition, to change it.
    #[inline]
    pub fn get_mut(&mut self, id: TopicPartition) -> Option<&mut V> {
        self.position(id).map(|at| &mut self.values[at])
    }

    /// Whether the partition has a value.
    pub fn contains(&self, id: TopicPartition) -> bool {
        self.position(id).is_some()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Sets the value of a partition.
    pub fn insert(&mut self, id: TopicPartition, value: V) {
        match self.keys.binary_search(&id) {
            Ok(at) => self.values[at] = value,
            Err(at) => {
                self.keys.insert(at, id);
                self.values.insert(at, value);
            }
        }
    }

    /// Takes the value of a partition out.
    pub fn remove(&mut self, id: TopicPartition) -> Option<V> {
        let at = self.position(id)?;
        self.keys.remove(at);
        Some(self.values.remove(at))
    }

    /// The partitions, in order.
    pub fn keys(&self) -> impl Iterator<Item = TopicPartition> {
        self.keys.iter().copied()
    }

    /// The values, in the order of their partitions.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.values.iter()
    }

    /// The values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.iter_mut()
    }

    /// Partitions with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &V)> {
        self.keys().zip(&self.values)
    }

    /// Partitions with their values, to change these.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (TopicPartition, &mut V)> {
        self.keys.iter().copied().zip(&mut self.values)
    }
}

impl<V> std::ops::Index<TopicPartition> for ByPartition<V> {
    type Output = V;

    /// # Panics
    /// Where the partition has no value.
    fn index(&self, id: TopicPartition) -> &V {
        self.get(id)
            .unwrap_or_else(|| panic!("partition {id:?} is not here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    #[test]
    fn finds_what_was_inserted_among_few_and_among_many() {
        for count in [3, FEW as i32 + 1, 40] {
            let mut map = ByPartition::new();
            let ids: Vec<TopicPartition> = (0..count)
                .map(|i| TopicPartition::new(TopicId(u128::from(i % 3 == 0) + 7), i))
                .collect();
            for id in ids.iter().rev() {
                map.insert(*id, -1);
                map.insert(*id, id.partition);
            }
            assert_eq!(map.keys().count(), ids.len());
            assert!(map.keys().is_sorted());
            assert!(map.iter().all(|(id, value)| id.partition == *value));
            for id in &ids {
                assert_eq!(map.get(*id), Some(&id.partition));
                *map.get_mut(*id).expect("inserted") += 1;
                assert_eq!(map[*id], id.partition + 1);
                let other = TopicPartition::new(TopicId(9), id.partition);
                assert!(!map.contains(other) && map.remove(other).is_none());
            }
            for id in &ids {
                assert_eq!(map.remove(*id), Some(id.partition + 1));
                assert!(!map.contains(*id));
            }
            assert!(map.is_empty());
        }
    }
}
