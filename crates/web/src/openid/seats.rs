//! How many ask the provider at once: each takes a thread for as long as the provider takes.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::sleep;
use parking_lot::Mutex;

/// In all, and of one network.
const MOST: usize = 8;
const MOST_OF_A_NETWORK: usize = 4;
/// How long somebody waits for a seat, looking so often.
const LOOKS: usize = 50;
const EVERY: Duration = Duration::from_millis(100);

/// The seats of one process.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<Vec<String>>>);

/// A seat that is taken, until it is dropped.
pub(crate) struct Seat {
    seats: Seats,
    network: String,
}

impl Seats {
    /// A seat for somebody from this network; none where all stay taken for seconds.
    pub async fn take(&self, network: &str) -> Option<Seat> {
        for _ in 0..LOOKS {
            if let Some(seat) = self.try_take(network) {
                return Some(seat);
            }
            sleep(EVERY).await;
        }
        None
    }

    fn try_take(&self, network: &str) -> Option<Seat> {
        let mut taken = self.0.lock();
        let of_network = taken.iter().filter(|known| *known == network).count();
        if taken.len() >= MOST || of_network >= MOST_OF_A_NETWORK {
            return None;
        }
        taken.push(network.to_owned());
        Some(Seat { seats: self.clone(), network: network.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock();
        if let Some(at) = taken.iter().position(|known| *known == self.network) {
            taken.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_leaves_seats_to_others() {
        let seats = Seats::default();
        let of_one: Vec<Seat> = (0..10).filter_map(|_| seats.try_take("10.0.0.5")).collect();
        assert_eq!(of_one.len(), MOST_OF_A_NETWORK);
        let of_others: Vec<Seat> = (0..10).filter_map(|n| seats.try_take(&format!("10.0.1.{n}"))).collect();
        assert_eq!(of_others.len(), MOST - MOST_OF_A_NETWORK);
        drop(of_one);
        assert!(seats.try_take("10.0.0.5").is_some());
    }
}
