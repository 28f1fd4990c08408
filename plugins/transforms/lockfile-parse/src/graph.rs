//! Who depends on whom.
//!
//! A lock file names its dependencies as shortly as it can. Here each name is resolved to the one package that it
//! means, and the edges are turned round, because an audit asks "who pulls this in?" more often than the opposite.

use std::collections::{BTreeMap, VecDeque};

use heddle_sdk::prelude::*;

use crate::lock::Locked;

/// The resolved graph. All numbers are indices into the list of packages.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) same_name: BTreeMap<&'a str, Vec<usize>>,
    pub(crate) dependencies: Vec<Vec<usize>>,
    pub(crate) dependents: Vec<Vec<usize>>,
    pub(crate) roots: Vec<usize>,
    /// Steps from the nearest root; `None` where no root leads there.
    pub(crate) depths: Vec<Option<u32>>,
}

/// Resolves every dependency. Fails where a name means no package, or more than one.
pub(crate) fn resolve(packages: &[Locked]) -> Result<Graph<'_>, Failure> {
    let mut same_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, package) in packages.iter().enumerate() {
        same_name.entry(&package.name).or_default().push(index);
    }
    let mut dependencies = vec![Vec::new(); packages.len()];
    let mut dependents = vec![Vec::new(); packages.len()];
    for (index, package) in packages.iter().enumerate() {
        for wanted in &package.dependencies {
            let mut target = find(packages, &same_name, package, wanted)?;
            if let Some(replacement) = &packages[target].replace {
                target = find(packages, &same_name, package, replacement)?;
            }
            dependencies[index].push(target);
            dependents[target].push(index);
        }
    }
    let (roots, depths) = walk(packages, &dependencies, &dependents);
    Ok(Graph { same_name, dependencies, dependents, roots, depths })
}

fn find(
    packages: &[Locked],
    same_name: &BTreeMap<&str, Vec<usize>>,
    from: &Locked,
    wanted: &str,
) -> Result<usize, Failure> {
    let mut words = wanted.splitn(3, ' ');
    let name = words.next().unwrap_or_default();
    let version = words.next();
    let source = words.next().map(|source| source.trim_start_matches('(').trim_end_matches(')'));
    let fits = |package: &Locked| {
        version.is_none_or(|version| package.version == version)
            && source.is_none_or(|source| same_source(package.source.as_deref(), source))
    };
    let named = same_name.get(name).map_or(&[][..], Vec::as_slice);
    let mut found: Vec<usize> = named.iter().copied().filter(|index| fits(&packages[*index])).collect();
    if found.len() > 1 && source.is_none() {
        // The oldest format writes a source for everything except packages in local folders.
        let local: Vec<usize> =
            found.iter().copied().filter(|index| packages[*index].source.is_none()).collect();
        found = if local.len() == 1 { local } else { found };
    }
    let who = format!("`{} {}` depends on `{wanted}`", from.name, from.version);
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::permanent(
            "unresolved_dependency",
            format!("{who}, which the file does not hold; let Cargo write the file anew"),
        )),
        [..] => Err(Failure::permanent(
            "ambiguous_dependency",
            format!("{who}, which fits {} packages; let Cargo write the file anew", found.len()),
        )),
    }
}

/// Newer formats leave the commit out of the source of a dependency.
fn same_source(source: Option<&str>, wanted: &str) -> bool {
    source.is_some_and(|source| source == wanted || source.split('#').next() == Some(wanted))
}

/// Breadth first from the project's own packages. Local packages that only depend on each other (through
/// dev-dependencies) have no outermost one: the first of them, by name, then counts as a root.
fn walk(
    packages: &[Locked],
    dependencies: &[Vec<usize>],
    dependents: &[Vec<usize>],
) -> (Vec<usize>, Vec<Option<u32>>) {
    let all = 0..packages.len();
    let outermost = |index: &usize| dependents[*index].is_empty();
    let local = |index: &usize| packages[*index].source.is_none();
    let mut roots: Vec<usize> = all.clone().filter(|index| packages[*index].root).collect();
    if roots.is_empty() {
        roots = all.clone().filter(|index| local(index) && outermost(index)).collect();
    }
    let mut depths = vec![None; packages.len()];
    spread(dependencies, &roots, &mut depths);
    for index in all.clone().filter(local) {
        if depths[index].is_none() {
            roots.push(index);
            spread(dependencies, &[index], &mut depths);
        }
    }
    if roots.is_empty() {
        roots = all.filter(outermost).collect();
        spread(dependencies, &roots, &mut depths);
    }
    (roots, depths)
}

fn spread(dependencies: &[Vec<usize>], roots: &[usize], depths: &mut [Option<u32>]) {
    let mut queue: VecDeque<(usize, u32)> = roots.iter().map(|root| (*root, 0)).collect();
    while let Some((index, depth)) = queue.pop_front() {
        if depths[index].is_some_and(|known| known <= depth) {
            continue;
        }
        depths[index] = Some(depth);
        queue.extend(dependencies[index].iter().map(|next| (*next, depth + 1)));
    }
}
