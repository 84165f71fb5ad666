//! What the steps of a story do to machines, links and the cluster itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::request::Response;
use tokio::time::sleep;

use super::super::asking::Outcome;
use super::super::cluster::Cluster;
use super::super::site::{Site, Start};
use super::super::storm::lock;
use super::{Named, RESTART_NS, Stage, parts};
use crate::plan::step::{Action, Down};
use crate::plan::{MS, SECOND};

impl Stage {
    /// What a step does to machines and links.
    pub(super) fn harm(&mut self, cluster: &mut Cluster, action: &Action) -> Result<Option<Named>, String> {
        match action {
            Action::Wait => {}
            Action::Member(who) => return Ok(Some(Named::Member(self.member(cluster, who)?))),
            Action::Cut { from, to, both } => {
                let links = self.links(cluster, from, to, *both)?;
                cluster.cut(&links);
                return Ok(Some(Named::Cut(links)));
            }
            Action::CutLinks(links) => {
                cluster.cut(links);
                return Ok(Some(Named::Cut(links.clone())));
            }
            Action::CutClients(group) => {
                let members = self.members(cluster, group, &[])?;
                members.iter().for_each(|place| cluster.cut_clients(*place, true));
            }
            Action::Heal(name) => match name.as_ref().and_then(|name| self.names.get(name)) {
                Some(Named::Cut(links)) => cluster.heal(links),
                _ => cluster.heal_all(),
            },
            Action::Crash { members, power, down } => {
                for place in self.members(cluster, members, &[])? {
                    self.crash(cluster, place, *power, *down);
                }
            }
            Action::Start(group) => {
                for place in self.members(cluster, group, &[])? {
                    self.down.lock().expect("nobody panics while holding it").remove(&place);
                    match cluster.sites.get(place) {
                        Some(site) => site.start(),
                        None => self.newcomer(cluster, place),
                    }
                }
            }
            Action::Wipe { member, returns_ns } => {
                let place = self.member(cluster, member)?;
                cluster.sites[place].wipe();
                self.down.lock().expect("nobody panics while holding it").insert(place);
                if let Some(after_ns) = returns_ns {
                    let site = cluster.sites[place].clone();
                    self.later(*after_ns, move |_| site.start());
                }
            }
            Action::Pause { members, lasts_ns } => {
                for place in self.members(cluster, members, &[])? {
                    cluster.pause(place);
                    self.later(*lasts_ns, move |cluster| cluster.resume(place));
                }
            }
            Action::StrikeDisk { member, aim, strike } => {
                cluster.sites[self.member(cluster, member)?].disk.lock().strike(*aim, *strike);
            }
            Action::Clog { from, to, lasts_ns } => {
                let links = [(self.member(cluster, from)?, self.member(cluster, to)?)];
                cluster.cut(&links);
                self.later(*lasts_ns, move |cluster| cluster.heal(&links));
            }
            Action::Clock { member, rate } => {
                cluster.sites[self.member(cluster, member)?].clock.set_rate(*rate);
            }
            other => unreachable!("not admitted: {other:?}"),
        }
        Ok(None)
    }

    pub(super) fn crash(&mut self, cluster: &Cluster, place: usize, power: bool, down: Down) {
        cluster.sites[place].kill(power);
        self.down.lock().expect("nobody panics while holding it").insert(place);
        match down {
            Down::Drawn => {
                let after_ns = self.rng.log_between(100 * MS, 2 * SECOND);
                self.start_later(place, after_ns, cluster);
            }
            Down::For(after_ns) => self.start_later(place, after_ns, cluster),
            Down::Held => {}
        }
    }

    pub(super) fn later(&self, after_ns: u64, then: impl FnOnce(&Cluster) + Send + 'static) {
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            sleep(Duration::from_nanos(after_ns)).await;
            then(&lock(&cluster));
        });
    }

    pub(super) fn start_later(&self, place: usize, after_ns: u64, cluster: &Cluster) {
        let (site, down) = (cluster.sites[place].clone(), self.down.clone());
        tokio::spawn(async move {
            sleep(Duration::from_nanos(after_ns)).await;
            down.lock().expect("nobody panics while holding it").remove(&place);
            site.start();
        });
    }

    /// Starts what has ended by itself, after a while.
    pub(super) fn look_after(&self, cluster: &Cluster) {
        for site in
            cluster.sites.iter().filter(|site| !site.is_up() && !site.is_removed() && !site.is_wiped())
        {
            if self.down.lock().expect("nobody panics while holding it").insert(site.place) {
                self.start_later(site.place, RESTART_NS, cluster);
            }
        }
    }

    /// A member's machine is there for the first time; it joins whoever is there.
    pub(super) fn newcomer(&self, cluster: &mut Cluster, place: usize) {
        let is_there = |site: &&Arc<Site>| !site.is_dismissed();
        let others = cluster.sites.iter().filter(is_there).map(|site| site.place).collect();
        cluster.add(parts(&self.plan, place, &Start::Joins(others)));
    }

    /// What the cluster has changed of itself.
    pub(super) fn take_in(&mut self, cluster: &Mutex<Cluster>, outcome: &Mutex<Option<Outcome>>) {
        let outcome = outcome.lock().expect("nobody panics while holding it");
        match outcome.as_ref() {
            Some(Outcome::Answered(Ok(Response::MemberAdd { member, .. }))) => self.ids.push(member.id),
            Some(Outcome::Answered(Ok(Response::MemberRemove { members, .. }))) => {
                let is_gone = |place: &usize| members.iter().all(|member| member.id != self.ids[*place]);
                let cluster = lock(cluster);
                (0..cluster.sites.len()).filter(is_gone).for_each(|place| cluster.sites[place].dismiss());
            }
            _ => {}
        }
    }
}
