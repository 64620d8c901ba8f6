//! Queue that is fair to tenants: each has its own line, lines are served in turn, and each has a
//! bound. However much one tenant has waiting, the next entry of another one is served after at most
//! one entry of each.
//!
//! See decision 0168.

use std::collections::{BTreeMap, VecDeque};

use holdfast_base::ids::Name;

/// Entries that are served before the barrier which ends them.
#[derive(Debug)]
struct Section<T> {
    /// Tenants with entries, in the order in which they are served next.
    turns: VecDeque<Name>,
    lines: BTreeMap<Name, VecDeque<T>>,
    /// Entry that is served after all others of the section.
    barrier: Option<T>,
}

impl<T> Section<T> {
    fn new() -> Self {
        Self { turns: VecDeque::new(), lines: BTreeMap::new(), barrier: None }
    }

    fn push(&mut self, tenant: &Name, item: T) {
        let line = self.lines.entry(tenant.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        line.push_back(item);
    }

    /// Takes the next entry. None: only the barrier is left.
    fn pop(&mut self) -> Option<(Name, T)> {
        let tenant = self.turns.pop_front()?;
        let line = self.lines.get_mut(&tenant)?;
        let item = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&tenant);
        } else {
            self.turns.push_back(tenant.clone());
        }
        Some((tenant, item))
    }
}

/// Entry that was taken out of a [`Fair`] queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// Entry of a tenant.
    Of(Name, T),
    /// Barrier: everything that was put in before it was taken out before it.
    Barrier(T),
}

/// Queue with one line for each tenant. See the file's description.
#[derive(Debug)]
pub struct Fair<T> {
    sections: VecDeque<Section<T>>,
    /// Number of entries of each tenant that has any.
    counts: BTreeMap<Name, usize>,
    bound: usize,
    len: usize,
}

impl<T> Fair<T> {
    /// Creates an empty queue in which each tenant has at most `bound` entries.
    pub fn new(bound: usize) -> Self {
        let (sections, counts) = (VecDeque::new(), BTreeMap::new());
        Self { sections, counts, bound, len: 0 }
    }

    /// Returns the number of entries of a tenant.
    pub fn len_of(&self, tenant: &Name) -> usize {
        self.counts.get(tenant).copied().unwrap_or(0)
    }

    /// Returns the number of all entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `put` with the section that new entries belong to.
    fn last(&mut self, put: impl FnOnce(&mut Section<T>)) {
        match self.sections.back_mut().filter(|section| section.barrier.is_none()) {
            Some(section) => put(section),
            None => {
                let mut section = Section::new();
                put(&mut section);
                self.sections.push_back(section);
            }
        }
    }

    /// Adds an entry to the line of a tenant.
    ///
    /// # Errors
    /// Returns the entry when the tenant has as many as it may have.
    pub fn push(&mut self, tenant: &Name, item: T) -> Result<(), T> {
        if self.len_of(tenant) >= self.bound {
            return Err(item);
        }
        self.last(|section| section.push(tenant, item));
        *self.counts.entry(tenant.clone()).or_insert(0) += 1;
        self.len += 1;
        Ok(())
    }

    /// Adds an entry that is served after everything that is in the queue, and before everything that
    /// comes later, whoever it belongs to. It counts for no tenant's bound.
    pub fn barrier(&mut self, item: T) {
        self.last(|section| section.barrier = Some(item));
        self.len += 1;
    }

    /// Takes the next entry: of the tenant whose turn it is.
    pub fn pop(&mut self) -> Option<Taken<T>> {
        loop {
            let section = self.sections.front_mut()?;
            if let Some((tenant, item)) = section.pop() {
                self.len -= 1;
                if let Some(count) = self.counts.get_mut(&tenant) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.counts.remove(&tenant);
                    }
                }
                return Some(Taken::Of(tenant, item));
            }
            let barrier = section.barrier.take();
            self.sections.pop_front();
            if let Some(item) = barrier {
                self.len -= 1;
                return Some(Taken::Barrier(item));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn order(queue: &mut Fair<u32>) -> Vec<u32> {
        let mut found = Vec::new();
        while let Some(taken) = queue.pop() {
            let (Taken::Of(_, item) | Taken::Barrier(item)) = taken;
            found.push(item);
        }
        found
    }

    #[test]
    fn tenants_are_served_in_turn_and_each_in_its_own_order() {
        let mut queue = Fair::new(100);
        for item in 0..10 {
            queue.push(&name("loud"), item).unwrap();
        }
        queue.push(&name("calm"), 100).unwrap();
        queue.push(&name("calm"), 101).unwrap();
        queue.push(&name("third"), 200).unwrap();
        assert_eq!(order(&mut queue), [0, 100, 200, 1, 101, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(queue.is_empty() && queue.counts.is_empty());
    }

    #[test]
    fn who_comes_late_is_served_next_however_much_waits() {
        let mut queue = Fair::new(usize::MAX);
        for item in 0..1_000 {
            queue.push(&name("loud"), item).unwrap();
        }
        for _ in 0..10 {
            queue.pop().unwrap();
        }
        queue.push(&name("calm"), 7_777).unwrap();
        assert_eq!(order(&mut queue)[..3], [10, 7_777, 11]);
    }

    #[test]
    fn each_tenant_has_its_bound_and_a_full_one_refuses_nobody_else() {
        let mut queue = Fair::new(2);
        assert!(queue.push(&name("loud"), 1).is_ok() && queue.push(&name("loud"), 2).is_ok());
        assert_eq!(queue.push(&name("loud"), 3), Err(3));
        assert!(queue.push(&name("calm"), 4).is_ok());
        queue.pop();
        assert!(queue.push(&name("loud"), 5).is_ok(), "one has left");
        assert_eq!((queue.len_of(&name("loud")), queue.len()), (2, 3));
    }

    #[test]
    fn a_barrier_parts_before_from_after() {
        let mut queue = Fair::new(10);
        queue.push(&name("a"), 1).unwrap();
        queue.push(&name("a"), 2).unwrap();
        queue.barrier(50);
        queue.barrier(51);
        queue.push(&name("b"), 3).unwrap();
        queue.push(&name("a"), 4).unwrap();
        assert_eq!(order(&mut queue), [1, 2, 50, 51, 3, 4]);
    }
}
