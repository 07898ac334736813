//! A cache that maps lookup keys to reservations.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use uuid::Uuid;

/// The number of tables of the cache. It is split so that only one table is copied when it grows.
const TABLES: usize = 20;
/// The most lookup keys in each table: 7/8 of 2^17 places, which take 1.2 MB. A full table is
/// emptied, and its keys are looked up again.
const MOST: usize = (1 << 17) / 8 * 7;

/// Maps lookup keys to reservations, as they were when they were looked up. An entry is only a
/// hint: it holds 32 bits of the lookup key, and the lookup key may have been deleted since.
/// Therefore the statement that writes also checks that the reservation has the lookup key. An
/// entry that proves wrong is removed.
#[derive(Default)]
pub(crate) struct LookupCache {
    tables: [HashMap<u32, u32, BuildHasherDefault<Spread>>; TABLES],
}

impl LookupCache {
    /// The id of the reservation that probably has this lookup key.
    pub fn id_of(&self, lookup_key: Uuid) -> Option<i64> {
        let short = short(lookup_key);
        self.tables[place(short)].get(&short).map(|id| i64::from(*id))
    }

    /// Stores that the reservation `id` has the lookup key, if the id fits into 32 bits.
    pub fn remember(&mut self, lookup_key: Uuid, id: i64) {
        let Ok(id) = u32::try_from(id) else { return };
        let short = short(lookup_key);
        let table = &mut self.tables[place(short)];
        if table.len() >= MOST {
            table.clear();
        }
        table.insert(short, id);
    }

    /// Removes the lookup key.
    pub fn forget(&mut self, lookup_key: Uuid) {
        let short = short(lookup_key);
        self.tables[place(short)].remove(&short);
    }
}

fn place(short: u32) -> usize {
    short as usize % TABLES
}

/// Shortens a lookup key to 32 bits that depend on all its bits. Ping keys that users choose are
/// not random in every part.
fn short(lookup_key: Uuid) -> u32 {
    let (high, low) = lookup_key.as_u64_pair();
    let half = high ^ low;
    (half ^ half >> 32) as u32
}

/// The hasher of the map. A shortened lookup key is random already, and is only spread over the
/// bits that the map uses.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, short: u32) {
        // 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4: multiplicative hashing).
        self.0 = (self.0 ^ u64::from(short)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup_key(number: u64) -> Uuid {
        Uuid::from_u64_pair(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number)
    }

    #[test]
    fn what_was_found_is_remembered_until_it_is_forgotten() {
        let mut known = LookupCache::default();
        assert_eq!(known.id_of(lookup_key(1)), None);
        known.remember(lookup_key(1), 7);
        known.remember(lookup_key(2), 8);
        assert_eq!((known.id_of(lookup_key(1)), known.id_of(lookup_key(2))), (Some(7), Some(8)));
        known.remember(lookup_key(1), 9);
        known.forget(lookup_key(2));
        assert_eq!((known.id_of(lookup_key(1)), known.id_of(lookup_key(2))), (Some(9), None));
    }

    #[test]
    fn an_id_that_does_not_fit_is_found_each_time() {
        let mut known = LookupCache::default();
        known.remember(lookup_key(1), i64::from(u32::MAX) + 8);
        assert_eq!(known.id_of(lookup_key(1)), None);
        known.remember(lookup_key(1), i64::from(u32::MAX));
        assert_eq!(known.id_of(lookup_key(1)), Some(i64::from(u32::MAX)));
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut known = LookupCache::default();
        // Each table is emptied twice, and then half filled.
        let many = (MOST * TABLES) as u64 * 5 / 2;
        (0..many).for_each(|number| known.remember(lookup_key(number), 1));
        for table in &known.tables {
            assert!((MOST / 8..=MOST).contains(&table.len()) && table.capacity() <= MOST, "{}", table.len());
        }
        assert_eq!(known.id_of(lookup_key(many - 1)), Some(1));
    }
}
