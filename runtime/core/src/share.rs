//! Whose turn it is, where many want what only a few can have at a time: a sandbox, a thread.
//!
//! First come, first served would give everything to whoever asks most: a workflow with a thousand attempts in line
//! makes every other one wait for all of them. So the line is kept by share, which is a workflow of a tenant. The next
//! is the one whose tenant has had the least, then whose workflow has had the least, then who came first. Within one
//! workflow it is first come, first served.
//!
//! What a share has had is what its services cost, where that is known: turns on a thread. Where a service may last for
//! any time, such as that of a sandbox, it is how many are being served now, and among equals how many have begun.
//! A share that wanted nothing for a while is owed nothing for it: it comes back level with the least of those who are
//! there.

use crate::id::Tenant;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// Accounts of shares that want nothing now, which are remembered so that leaving does not wipe out what was had.
const REMEMBERED: usize = 1_024;

/// On whose account something is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// The tenant.
    pub tenant: Tenant,
    /// `namespace/name` of the workflow; empty for what a node does for itself.
    pub workflow: Arc<str>,
}

impl Share {
    /// What a node does for itself, such as asking a new plugin what it is.
    pub fn of_the_node() -> Share {
        Share { tenant: Tenant::default(), workflow: "".into() }
    }
}

/// What a share is weighed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What its services cost.
    Cost,
    /// How many are being served, then how many have been.
    Count,
}

/// What one tenant, or one share, has had and wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    /// Sum of the costs, or of the services that have begun.
    had: u64,
    /// Services under way.
    served: usize,
    /// Those in line.
    waiting: usize,
}

impl Account {
    fn is_there(&self) -> bool {
        self.served + self.waiting > 0
    }
    /// What decides: the least is next.
    fn weight(&self, by: By) -> (u64, u64) {
        match by {
            By::Cost => (self.had, self.served as u64),
            By::Count => (self.served as u64, self.had),
        }
    }
}

/// A line of those who wait. `T` is what is handed out with the turn.
#[derive(Debug)]
pub struct Line<T> {
    by: By,
    tenants: HashMap<Tenant, Account>,
    shares: HashMap<Share, Account>,
    waiting: HashMap<Share, VecDeque<(u64, T)>>,
    came: u64,
}

impl<T> Line<T> {
    /// An empty line.
    pub fn new(by: By) -> Line<T> {
        Line { by, tenants: HashMap::new(), shares: HashMap::new(), waiting: HashMap::new(), came: 0 }
    }
    /// Services of this share that are under way.
    pub fn served(&self, share: &Share) -> usize {
        self.shares.get(share).map_or(0, |account| account.served)
    }
    /// Serves one of this share at once, past the line.
    pub fn serve(&mut self, share: &Share) {
        let by = self.by;
        self.each(share, |account| {
            account.served += 1;
            account.had += u64::from(by == By::Count);
        });
    }
    /// Puts one at the end of its share's line; gives the number under which it may leave again.
    pub fn wait(&mut self, share: &Share, with: T) -> u64 {
        self.each(share, |account| account.waiting += 1);
        self.came += 1;
        self.waiting.entry(share.clone()).or_default().push_back((self.came, with));
        self.came
    }
    /// Takes one out of the line. `false` if its turn had come already.
    pub fn leave(&mut self, share: &Share, number: u64) -> bool {
        let Some(line) = self.waiting.get_mut(share) else { return false };
        // The numbers of a line ascend.
        let Ok(at) = line.binary_search_by_key(&number, |(number, _)| *number) else { return false };
        line.remove(at);
        self.one_less(share);
        true
    }
    /// Whose turn it is, among the shares for which `may` holds of the number of their services under way. It is being
    /// served from now on.
    pub fn next(&mut self, may: impl Fn(usize) -> bool) -> Option<(Share, T)> {
        let first = |share: &Share, line: &VecDeque<(u64, T)>| {
            let (tenant, own) = (self.tenants.get(&share.tenant)?, self.shares.get(share)?);
            let (number, _) = line.front()?;
            may(own.served).then_some((tenant.weight(self.by), own.weight(self.by), *number))
        };
        let lines = self.waiting.iter();
        let (_, share) = lines
            .filter_map(|(share, line)| Some((first(share, line)?, share)))
            .min_by_key(|(weight, _)| *weight)?;
        let share = share.clone();
        let (_, with) = self.waiting.get_mut(&share)?.pop_front()?;
        // In this order: who is neither served nor waiting has left, and would come back at another's level.
        self.serve(&share);
        self.one_less(&share);
        Some((share, with))
    }
    /// A service is over, and this is what it cost, where that counts.
    pub fn done(&mut self, share: &Share, cost: u64) {
        let cost = if self.by == By::Cost { cost } else { 0 };
        self.each(share, |account| {
            account.served = account.served.saturating_sub(1);
            account.had = account.had.saturating_add(cost);
        });
        if self.shares.len() > REMEMBERED {
            self.shares.retain(|_, account| account.is_there());
            self.tenants.retain(|_, account| account.is_there());
        }
    }

    fn one_less(&mut self, share: &Share) {
        self.each(share, |account| account.waiting = account.waiting.saturating_sub(1));
        if self.waiting.get(share).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(share);
        }
    }
    /// Changes both accounts. Whoever was not there comes back level with the least of those who are.
    fn each(&mut self, share: &Share, change: impl Fn(&mut Account)) {
        fn one<K: Clone + Eq + Hash>(of: &mut HashMap<K, Account>, key: &K, change: impl Fn(&mut Account)) {
            let is_there = of.get(key).is_some_and(Account::is_there);
            let least = match is_there {
                true => None,
                false => of.values().filter(|a| a.is_there()).map(|account| account.had).min(),
            };
            match of.get_mut(key) {
                Some(account) => {
                    account.had = account.had.max(least.unwrap_or(0));
                    change(account);
                }
                None => {
                    let mut account = Account { had: least.unwrap_or(0), ..Account::default() };
                    change(&mut account);
                    of.insert(key.clone(), account);
                }
            }
        }
        one(&mut self.tenants, &share.tenant, &change);
        one(&mut self.shares, share, &change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(tenant: &str, workflow: &str) -> Share {
        Share { tenant: Tenant(tenant.into()), workflow: workflow.into() }
    }
    /// Who is served, one after another, each service at this cost.
    fn order(line: &mut Line<&'static str>, cost: u64) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some((share, who)) = line.next(|_| true) {
            order.push(who);
            line.done(&share, cost);
        }
        order
    }

    #[test]
    fn who_came_first_is_first_within_a_workflow_and_workflows_take_turns() {
        let (loud, quiet) = (share("t", "loud"), share("t", "quiet"));
        let mut line = Line::new(By::Cost);
        for who in ["l1", "l2", "l3"] {
            line.wait(&loud, who);
        }
        for who in ["q1", "q2"] {
            line.wait(&quiet, who);
        }
        assert_eq!(order(&mut line, 10), ["l1", "q1", "l2", "q2", "l3"]);
    }
    #[test]
    fn many_workflows_of_a_tenant_are_one_tenant() {
        let mut line = Line::new(By::Cost);
        for (workflow, who) in [("a", "a"), ("b", "b"), ("c", "c")] {
            line.wait(&share("many", workflow), who);
        }
        line.wait(&share("one", "a"), "other");
        assert_eq!(order(&mut line, 10), ["a", "other", "b", "c"]);
    }
    #[test]
    fn what_costs_less_comes_more_often() {
        let (dear, cheap) = (share("t", "dear"), share("t", "cheap"));
        let mut line = Line::new(By::Cost);
        let mut served = HashMap::new();
        line.wait(&dear, "dear");
        line.wait(&cheap, "cheap");
        for _ in 0..110 {
            let (share, who) = line.next(|_| true).unwrap();
            line.wait(&share, who);
            line.done(&share, if who == "dear" { 10 } else { 1 });
            *served.entry(who).or_insert(0) += 1;
        }
        assert!(served["dear"] == 10 || served["dear"] == 11, "{served:?}");
    }
    /// Sixteen sandboxes, fifty workflows with sixty attempts each in line, and one more that has just come.
    #[test]
    fn a_newcomer_waits_for_one_round_however_long_the_lines_are() {
        let mut line = Line::new(By::Count);
        let busy: Vec<Share> = (0..50).map(|n| share("t", &format!("busy{n}"))).collect();
        for share in busy.iter().flat_map(|share| std::iter::repeat_n(share, 60)) {
            line.wait(share, "busy");
        }
        let mut held: VecDeque<Share> = (0..16).filter_map(|_| Some(line.next(|_| true)?.0)).collect();
        let mut one_ends = |line: &mut Line<&'static str>| {
            line.done(&held.pop_front().unwrap(), 0);
            let (share, who) = line.next(|_| true).unwrap();
            held.push_back(share);
            who
        };
        (0..500).for_each(|_| assert_eq!(one_ends(&mut line), "busy"));
        line.wait(&share("t", "new"), "new");
        let waited_for = (0..).find(|_| one_ends(&mut line) == "new").unwrap();
        assert!(waited_for <= 50, "{waited_for}");
    }
    #[test]
    fn who_was_away_is_owed_nothing_and_forgiven_nothing() {
        let (hog, other) = (share("t", "hog"), share("t", "other"));
        let mut line = Line::new(By::Cost);
        line.wait(&other, "other");
        assert_eq!(order(&mut line, 1), ["other"]);
        line.serve(&hog);
        line.done(&hog, 1_000);
        // Both were away. Whoever comes first now is level with nobody, and keeps what it had.
        line.wait(&hog, "h1");
        line.wait(&hog, "h2");
        line.wait(&other, "o1");
        line.wait(&other, "o2");
        assert_eq!(order(&mut line, 10), ["h1", "o1", "h2", "o2"]);
    }
    #[test]
    fn who_may_not_is_passed_and_who_leaves_is_forgotten() {
        let (full, empty) = (share("t", "full"), share("t", "empty"));
        let mut line = Line::new(By::Cost);
        line.serve(&full);
        line.wait(&full, "full");
        assert!(line.next(|served| served == 0).is_none());
        let number = line.wait(&empty, "gone");
        assert!(line.leave(&empty, number) && !line.leave(&empty, number));
        line.wait(&empty, "empty");
        assert_eq!(line.next(|served| served == 0).map(|(_, who)| who), Some("empty"));
        assert_eq!((line.served(&full), line.served(&empty)), (1, 1));
        line.done(&full, 0);
        assert_eq!(line.next(|served| served == 0).map(|(_, who)| who), Some("full"));
    }
    #[test]
    fn accounts_do_not_pile_up() {
        let mut line: Line<()> = Line::new(By::Cost);
        for n in 0..10 * REMEMBERED {
            let share = share(&format!("t{n}"), "w");
            line.serve(&share);
            line.done(&share, 1);
        }
        assert!(line.shares.len() <= REMEMBERED + 1 && line.tenants.len() <= REMEMBERED + 1);
        assert!(line.waiting.is_empty());
    }
}
