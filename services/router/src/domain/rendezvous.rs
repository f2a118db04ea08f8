//! Which instance serves a connection: every replica of the router comes to the same answer without talking to the
//! others, and an instance that comes or goes moves its own connections only (highest random weight, Thaler and
//! Ravishankar 1998).

use sha2::{Digest as _, Sha256};

/// How strongly a connection is drawn to an instance. The greatest wins; the next is its stand-in.
fn weight(instance_id: &str, tenant_id: &str, connection_id: &str) -> u64 {
    let mut hash = Sha256::new();
    for part in [instance_id, tenant_id, connection_id] {
        // The length parts the texts unambiguously.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = hash.finalize().0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Sorts instances by how strongly the connection is drawn to them, the strongest first.
pub(crate) fn rank<T>(instances: &mut [T], id: impl Fn(&T) -> &str, tenant_id: &str, connection_id: &str) {
    instances.sort_by_cached_key(|instance| std::cmp::Reverse(weight(id(instance), tenant_id, connection_id)));
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn winner(instances: &[String], connection: usize) -> String {
        let mut ranked = instances.to_vec();
        rank(&mut ranked, |i| i, "t", &connection.to_string());
        ranked.swap_remove(0)
    }

    #[test]
    fn an_instance_that_goes_moves_its_own_connections_only_and_spreads_them() {
        let all: Vec<String> = (0..5).map(|n| format!("instance-{n}")).collect();
        let left: Vec<String> = all.iter().filter(|i| *i != "instance-2").cloned().collect();
        let mut load: HashMap<String, usize> = HashMap::new();
        let mut moved: HashMap<String, usize> = HashMap::new();
        for connection in 0..5000 {
            let (before, after) = (winner(&all, connection), winner(&left, connection));
            *load.entry(before.clone()).or_default() += 1;
            if before == "instance-2" {
                *moved.entry(after).or_default() += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        // A fifth each, and of the dead one's fifth a quarter each, within five standard deviations.
        assert!(load.values().all(|n| (860..1140).contains(n)), "{load:?}");
        assert!(moved.len() == 4 && moved.values().all(|n| (180..320).contains(n)), "{moved:?}");
    }

    #[test]
    fn the_order_in_which_instances_are_known_does_not_matter() {
        let all: Vec<String> = (0..5).map(|n| format!("instance-{n}")).collect();
        let reversed: Vec<String> = all.iter().rev().cloned().collect();
        assert!((0..100).all(|connection| winner(&all, connection) == winner(&reversed, connection)));
    }
}
