//! Depth and circles of things that contain each other, without recursion: bad data must not overflow the stack.

/// For each node of a graph, given the nodes that it contains: how deep it is, 1 for one that contains nothing; `None`
/// where it never ends.
pub(crate) fn depths(contains: &[Vec<usize>]) -> Vec<Option<usize>> {
    let mut containers = vec![Vec::new(); contains.len()];
    let mut open: Vec<usize> = contains.iter().map(Vec::len).collect();
    for (node, parts) in contains.iter().enumerate() {
        for &part in parts {
            containers[part].push(node);
        }
    }
    // Kahn's algorithm, from the ones that contain nothing upwards.
    let mut depths = vec![None; contains.len()];
    let mut ready: Vec<usize> = (0..contains.len()).filter(|&node| open[node] == 0).collect();
    while let Some(node) = ready.pop() {
        depths[node] = Some(1 + contains[node].iter().filter_map(|&part| depths[part]).max().unwrap_or(0));
        for &container in &containers[node] {
            open[container] -= 1;
            if open[container] == 0 {
                ready.push(container);
            }
        }
    }
    depths
}

/// The nodes that lie on a circle (or between two), not those that merely lead to one.
pub(crate) fn circular(contains: &[Vec<usize>]) -> Vec<usize> {
    let mut contained_by = vec![Vec::new(); contains.len()];
    for (node, parts) in contains.iter().enumerate() {
        for &part in parts {
            contained_by[part].push(node);
        }
    }
    let (down, up) = (depths(contains), depths(&contained_by));
    (0..contains.len()).filter(|&node| down[node].is_none() && up[node].is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_the_longest_way_down() {
        // 0 contains 1 and 2; 1 contains 2; 2 nothing.
        assert_eq!(depths(&[vec![1, 2], vec![2], vec![]]), [Some(3), Some(2), Some(1)]);
    }

    #[test]
    fn only_what_is_on_the_circle_is_circular() {
        // 0 → 1 ⇄ 2 → 3, and 4 contains itself.
        let contains = [vec![1], vec![2], vec![1, 3], vec![], vec![4]];
        assert_eq!(depths(&contains), [None, None, None, Some(1), None]);
        assert_eq!(circular(&contains), [1, 2, 4]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_is_measured() {
        let contains: Vec<Vec<usize>> = (0..100_000).map(|i| if i == 0 { vec![] } else { vec![i - 1] }).collect();
        assert_eq!(depths(&contains).last(), Some(&Some(100_000)));
    }
}
