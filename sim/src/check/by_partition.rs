//! A value for each partition that is heard of, found without a search: a run has a handful of topics, and
//! their partitions are counted from 0.

use everyack_broker::ids::*;

/// By topic, then by partition. A partition that nobody has heard of has the default value.
#[derive(Debug)]
pub struct ByPartition<T>(Vec<(TopicId, Vec<T>)>);

impl<T> Default for ByPartition<T> {
    fn default() -> ByPartition<T> {
        ByPartition(Vec::new())
    }
}

impl<T: Default> ByPartition<T> {
    /// A partition's value, if there is one.
    pub fn get(&self, partition: TopicPartition) -> Option<&T> {
        let (_, values) = self.0.iter().find(|(topic, _)| *topic == partition.topic)?;
        values.get(partition.partition as usize)
    }

    /// A partition's value, which is there from now on.
    #[inline]
    pub fn of(&mut self, partition: TopicPartition) -> &mut T {
        let index = partition.partition as usize;
        let mut topics = self.0.iter();
        let known = topics.position(|(topic, _)| *topic == partition.topic);
        match known {
            Some(at) if index < self.0[at].1.len() => &mut self.0[at].1[index],
            _ => self.add(known, partition),
        }
    }

    #[cold]
    fn add(&mut self, topic: Option<usize>, partition: TopicPartition) -> &mut T {
        let index = usize::try_from(partition.partition).expect("partitions are counted from 0");
        let at = topic.unwrap_or_else(|| {
            self.0.push((partition.topic, Vec::new()));
            self.0.len() - 1
        });
        let values = &mut self.0[at].1;
        values.resize_with(index + 1, T::default);
        &mut values[index]
    }

    /// Every value.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|(_, values)| values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_of_each_topic_has_a_value_of_its_own() {
        let partition = |topic, partition| TopicPartition::new(TopicId(topic), partition);
        let mut values: ByPartition<u32> = ByPartition::default();
        assert_eq!(values.get(partition(1, 0)), None);
        *values.of(partition(1, 2)) = 12;
        *values.of(partition(2, 0)) = 20;
        *values.of(partition(1, 0)) = 10;
        assert_eq!(values.get(partition(1, 2)), Some(&12));
        assert_eq!(values.get(partition(2, 0)), Some(&20));
        assert_eq!(values.get(partition(1, 0)), Some(&10));
        assert_eq!(values.get(partition(1, 1)), Some(&0), "between two");
        assert_eq!(values.get(partition(1, 3)), None);
        assert_eq!(values.get(partition(2, -1)), None);
        assert_eq!(values.values_mut().map(|v| *v).sum::<u32>(), 42);
    }
}
