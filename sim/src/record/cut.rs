//! Cuts of the network in words.

/// A cut as people draw it: `m0 m1 | m2 m3 m4` where groups do not hear each other at all, the stopped
/// directions one by one where it is not as clean, and members that are kept from their clients.
pub fn told_cut(size: usize, links: &[(usize, usize)], clients: &[usize]) -> String {
    let mut words = Vec::new();
    if !links.is_empty() {
        words.push(told_groups(size, links).unwrap_or_else(|| told_links(links)));
    }
    if !clients.is_empty() {
        words.push(format!("{} from clients", told_members(clients)));
    }
    words.join(", ")
}

fn told_members(members: &[usize]) -> String {
    members.iter().map(|m| format!("m{m}")).collect::<Vec<_>>().join(" ")
}

/// `None`: the cut does not part the members into groups.
fn told_groups(size: usize, links: &[(usize, usize)]) -> Option<String> {
    let is_cut = |a: usize, b: usize| links.contains(&(a, b));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for m in 0..size {
        match groups.iter_mut().find(|group| !is_cut(m, group[0]) && !is_cut(group[0], m)) {
            Some(group) => group.push(m),
            None => groups.push(vec![m]),
        }
    }
    let group_of = |m: usize| groups.iter().position(|group| group.contains(&m));
    let pairs = || (0..size).flat_map(move |a| (0..size).map(move |b| (a, b))).filter(|(a, b)| a != b);
    let is_clean = pairs().all(|(a, b)| is_cut(a, b) == (group_of(a) != group_of(b)));
    is_clean.then(|| groups.iter().map(|group| told_members(group)).collect::<Vec<_>>().join(" | "))
}

/// By sender, both ways at once where both are stopped.
fn told_links(links: &[(usize, usize)]) -> String {
    let mut words = Vec::new();
    for (a, b) in links {
        let is_both = links.contains(&(*b, *a));
        match is_both {
            true if a < b => words.push(format!("m{a} x m{b}")),
            true => {}
            false => words.push(format!("m{a} -x m{b}")),
        }
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_told_as_groups_where_there_are_groups() {
        let across = [(0, 2), (2, 0), (1, 2), (2, 1)];
        assert_eq!(told_cut(3, &across, &[]), "m0 m1 | m2");
        assert_eq!(told_cut(3, &across, &[2]), "m0 m1 | m2, m2 from clients");
        assert_eq!(told_cut(3, &[], &[1]), "m1 from clients");
    }

    #[test]
    fn other_cuts_are_told_link_by_link() {
        assert_eq!(told_cut(3, &[(0, 1), (0, 2)], &[]), "m0 -x m1, m0 -x m2");
        assert_eq!(told_cut(3, &[(0, 1), (1, 0)], &[]), "m0 x m1");
    }
}
