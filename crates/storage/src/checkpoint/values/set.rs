//! The value files that a checkpoint has now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use leasehold_types::GroupId;

use super::extent::{Extent, Extents};
use super::file::ValueFile;
use super::numbers::{Numbers, name, on_disk};
use super::pointer::Pointer;
use crate::checkpoint::file::Fault;
use crate::disk::Disk;

/// Open value files, by number.
#[derive(Clone, Default)]
pub(in crate::checkpoint) struct Files(BTreeMap<u64, Arc<ValueFile>>);

impl Files {
    /// The value that a pointer of a commit points to.
    pub(in crate::checkpoint) fn read(&self, pointer: &Pointer) -> Result<Bytes, Fault> {
        let missing = || Fault::corrupt(0, "a row points into a value file that is not there");
        self.0.get(&pointer.file).ok_or_else(missing)?.read(pointer)
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<ValueFile>> {
        self.0.get(&number).cloned()
    }

    /// Those in which a commit wants nothing.
    fn gone(&self, wanted: &Extents) -> Vec<Arc<ValueFile>> {
        let files = self.0.values();
        let gone = files.filter(|file| !wanted.contains_key(&file.number));
        gone.cloned().collect()
    }

    /// Those that another has not.
    fn without(&self, other: &Self) -> Vec<u64> {
        let numbers = self.0.keys().copied();
        numbers
            .filter(|number| !other.0.contains_key(number))
            .collect()
    }
}

/// A file is begun when the last one has this part of all bytes: there are some 64 of them then, and some more for each
/// doubling, about 240 with 64 GiB.
const FILES: u64 = 64;

/// The spare file has at most so many usual ones' bytes: with many values files are larger, and this one is in the way of
/// none of them.
const SPARE_FILES: u64 = 2;

/// See the module.
pub(in crate::checkpoint) struct ValueSet {
    disk: Arc<dyn Disk>,
    numbers: Arc<Numbers>,
    group: GroupId,
    file_bytes: u64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Those of the last commit, and those of a change under way.
    files: Arc<Files>,
    /// As of the last commit.
    extents: Arc<Extents>,
    /// A file in which no commit wants anything, kept to be written over.
    spare: Option<Arc<ValueFile>>,
}

impl ValueSet {
    /// Opens the files of a commit. A new one is begun after so many bytes.
    pub(in crate::checkpoint) fn open(
        disk: &Arc<dyn Disk>,
        numbers: &Arc<Numbers>,
        group: GroupId,
        file_bytes: u64,
        extents: Extents,
    ) -> Result<Self, Fault> {
        let open = |(number, extent): (&u64, &Extent)| {
            let file = ValueFile::open(disk.as_ref(), group, *number, extent.end)?;
            Ok((*number, Arc::new(file)))
        };
        let files = extents.iter().map(open).collect::<Result<_, Fault>>()?;
        Ok(Self {
            disk: Arc::clone(disk),
            numbers: Arc::clone(numbers),
            group,
            file_bytes,
            known: Mutex::new(Known {
                files: Arc::new(Files(files)),
                extents: Arc::new(extents),
                spare: None,
            }),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// All that a view may read. Another one whenever a file comes or goes.
    pub(in crate::checkpoint) fn files(&self) -> Arc<Files> {
        Arc::clone(&self.known().files)
    }

    /// As of the last commit.
    pub(super) fn extents(&self) -> Arc<Extents> {
        Arc::clone(&self.known().extents)
    }

    /// Takes over what another set has: the rows that point there were copied.
    pub(in crate::checkpoint) fn take_over(&self, other: &Self) {
        let (files, extents) = (other.files(), other.extents());
        let mut known = self.known();
        (known.files, known.extents) = (files, extents);
    }

    /// From how many bytes on a file is full, among others.
    pub(super) fn full_from(&self, extents: &Extents) -> u64 {
        let ends = extents.values().map(|extent| extent.end).sum::<u64>();
        self.file_bytes.max(ends / FILES)
    }

    /// Begins a file, of the spare one if there is one; the name is not durable yet.
    pub(super) fn create(&self) -> Result<Arc<ValueFile>, Fault> {
        let number = self.numbers.next(self.disk.as_ref());
        let number = number.map_err(|error| Fault::io("number", error))?;
        let file = match self.take_spare() {
            Some(spare) => {
                let before = spare.number;
                let renumbered = spare.renumbered(self.disk.as_ref(), self.group, number);
                renumbered.inspect_err(|_| self.remove_name(before))?
            }
            None => ValueFile::create(self.disk.as_ref(), self.group, number)?,
        };
        let file = Arc::new(file);
        let mut known = self.known();
        let _ = Arc::make_mut(&mut known.files)
            .0
            .insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// Makes the names of new files durable.
    pub(super) fn sync_names(&self) -> Result<(), Fault> {
        self.numbers.sync_names(self.disk.as_ref())
    }

    /// A commit counts: lets go of files in which it wants nothing.
    ///
    /// One of them is kept for the next file to be made of. What is written over needs no block of the volume and no page
    /// of memory that was not there before, both of which are dear, the pages above all in a virtual machine that has
    /// given them back to its host.
    pub(super) fn commit(&self, extents: Extents) {
        let mut known = self.known();
        let mut gone = known.files.gone(&extents);
        if !gone.is_empty() {
            let files = Arc::make_mut(&mut known.files);
            files.0.retain(|number, _| extents.contains_key(number));
        }
        if known.spare.is_none() {
            known.spare = self.fit_to_spare(&mut gone, &known.extents);
        }
        known.extents = Arc::new(extents);
        drop(known);
        gone.iter().for_each(|file| self.remove_name(file.number));
    }

    /// Takes one that is not too large out of those that are gone.
    fn fit_to_spare(
        &self,
        gone: &mut Vec<Arc<ValueFile>>,
        before: &Extents,
    ) -> Option<Arc<ValueFile>> {
        let most = self.file_bytes * SPARE_FILES;
        let fits =
            |file: &Arc<ValueFile>| before.get(&file.number).is_some_and(|it| it.end <= most);
        let at = gone.iter().position(fits)?;
        Some(gone.swap_remove(at))
    }

    /// The spare file, unless somebody has a view that may read it as what it was: then it goes.
    fn take_spare(&self) -> Option<ValueFile> {
        let spare = self.known().spare.take()?;
        let number = spare.number;
        let unread = Arc::into_inner(spare);
        if unread.is_none() {
            self.remove_name(number);
        }
        unread
    }

    /// Gives back the room of the spare file.
    pub(in crate::checkpoint) fn drop_spare(&self) {
        let spare = self.known().spare.take();
        if let Some(spare) = spare {
            self.remove_name(spare.number);
        }
    }

    /// Removes files of a change that is given up, and gives back their room also while a view has hold of them.
    pub(super) fn take_back(&self, created: &[u64]) {
        let files = self.files();
        let files = created.iter().filter_map(|number| files.get(*number));
        files.for_each(|file| file.cut(0));
        self.remove(created);
        self.drop_spare();
    }

    /// Removes files that no commit names.
    fn remove(&self, gone: &[u64]) {
        if gone.is_empty() {
            return;
        }
        let mut known = self.known();
        let files = Arc::make_mut(&mut known.files);
        files.0.retain(|number, _| !gone.contains(number));
        drop(known);
        gone.iter().for_each(|number| self.remove_name(*number));
    }

    /// It may be there again after a crash; then it is removed when the checkpoint is opened.
    fn remove_name(&self, number: u64) {
        let name = name(self.group, number);
        if let Err(error) = self.disk.remove(&name) {
            tracing::warn!(file = name, %error, "cannot remove a value file");
        }
    }

    /// Removes what this set has and another that took its place has not.
    ///
    /// SUBTLE: the names only. Somebody who was about to take a view of this one still finds its files here.
    pub(in crate::checkpoint) fn give_way_to(&self, other: &Self) {
        let gone = self.files().without(&other.files());
        gone.iter().for_each(|number| self.remove_name(*number));
        self.drop_spare();
    }

    /// Removes all files: the checkpoint was given up.
    pub(in crate::checkpoint) fn give_up(&self) {
        self.drop_spare();
        let gone = self.files().without(&Files::default());
        self.remove(&gone);
    }

    /// Removes files of the group that a crash left, or a close, and no commit names. Nothing else of the group may be in
    /// use.
    pub(in crate::checkpoint) fn sweep(&self) {
        let swept = on_disk(self.disk.as_ref(), self.group).map(|numbers| {
            let files = self.files();
            let orphans = numbers
                .into_iter()
                .filter(|number| !files.0.contains_key(number));
            orphans.for_each(|number| self.remove_name(number));
        });
        if let Err(error) = swept {
            tracing::warn!(group = %self.group, %error, "cannot look for value files that a crash left");
        }
    }

    /// Whether a file is worth being emptied, and the disk has ample room for what is wanted of it.
    pub(in crate::checkpoint) fn is_worth_gathering(&self) -> bool {
        let extents = self.extents();
        let live = sparsest(&extents, self.file_bytes).map(|number| extents[&number].live);
        let space = self.disk.space();
        live.zip(space.ok())
            .is_some_and(|(live, space)| space.free / AMPLE > live)
    }

    /// The file that is worth being emptied most, if any is.
    pub(super) fn sparsest(&self) -> Option<u64> {
        sparsest(&self.extents(), self.file_bytes)
    }
}

/// The file with the smallest part that is wanted, while more is dead than alive, beside what comes and goes by itself.
fn sparsest(extents: &Extents, file_bytes: u64) -> Option<u64> {
    let live: u64 = extents.values().map(|extent| extent.live).sum();
    let dead: u64 = extents.values().map(Extent::dead).sum();
    if dead <= live + COMING_AND_GOING * file_bytes {
        return None;
    }
    // As parts of 65 536, so that whole numbers do.
    let part = |extent: &Extent| (extent.live << 16) / extent.end.max(1);
    let sparsest = extents.iter().min_by_key(|(_, extent)| part(extent));
    sparsest.map(|(number, _)| *number)
}

/// Values move only while the disk has so many times their room: others need it too.
const AMPLE: u64 = 8;
/// So many files' worth of dead values go by themselves, with their neighbours.
const COMING_AND_GOING: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn set(disk: &Arc<dyn Disk>, numbers: &Arc<Numbers>) -> ValueSet {
        ValueSet::open(disk, numbers, GroupId::new(3), 1_000, Extents::new()).unwrap()
    }

    #[test]
    fn who_takes_a_view_of_what_was_just_replaced_still_finds_its_files() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let numbers = Arc::default();
        let (before, after) = (set(&disk, &numbers), set(&disk, &numbers));
        let number = before.create().unwrap().number;
        after.create().unwrap();
        before.give_way_to(&after);
        assert_eq!(disk.list().unwrap().len(), 1);
        assert!(before.files().get(number).is_some());
    }

    #[test]
    fn failed_sync_of_names_is_heard_by_every_group() {
        let disk = MemoryDisk::new();
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let numbers = Arc::default();
        let (one, other) = (set(&as_disk, &numbers), set(&as_disk, &numbers));
        disk.fail_next_syncs(1);
        assert!(one.sync_names().is_err_and(|fault| fault.is_of_sync()));
        assert!(other.sync_names().is_err_and(|fault| fault.is_of_sync()));
    }
}
