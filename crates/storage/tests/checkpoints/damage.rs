//! Damage is found where it is, or lies where nobody reads; it is never served.

use leasehold_storage::{
    CHECKPOINT_FORMAT, Checkpoint, CheckpointError, Disk, DiskFile, MemoryDisk, OpenMode,
};

use crate::support::{FILE, JOBS, Model, change, key, open, try_open, value};

const BLOCK: u64 = 4096;

/// A checkpoint with changed and removed rows, and pages of earlier commits.
fn checkpoint() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let checkpoint = open(&disk);
    for version in 0..5 {
        change(&checkpoint, &mut model, version, 60).unwrap();
    }
    drop(checkpoint);
    (disk, model)
}

fn file(disk: &MemoryDisk) -> Box<dyn DiskFile> {
    disk.open(FILE, OpenMode::Existing).unwrap()
}

/// All that can be read of a checkpoint.
fn read(disk: &MemoryDisk) -> Result<Model, CheckpointError> {
    Model::of(&try_open(disk)?.view()?)
}

/// A commit that wants every page of the tree.
fn change_all(checkpoint: &Checkpoint, model: &mut Model) -> Result<(), CheckpointError> {
    let mut writing = checkpoint.begin()?;
    for number in (0..300).step_by(5) {
        let row = value(number, 5, 200);
        writing.put(JOBS, &key(number), &row)?;
        model.put(JOBS, key(number), row);
    }
    writing.commit(&model.head.clone().unwrap_or_default())
}

/// Where an error says that the damage is.
fn offset_of(error: &CheckpointError) -> u64 {
    let message = error.to_string();
    match error {
        CheckpointError::Corrupt { file, offset, .. } => {
            assert_eq!(file, FILE);
            assert!(
                message.contains(FILE)
                    && message.contains(&offset.to_string())
                    && message.contains("restore it from a backup"),
                "{message}"
            );
            *offset
        }
        CheckpointError::NewerFormat { .. }
        | CheckpointError::Full { .. }
        | CheckpointError::Io { .. }
        | CheckpointError::Busy { .. }
        | CheckpointError::Gone { .. } => panic!("{message}"),
    }
}

/// Bits to flip: the whole head and header, and some of each block.
fn places(length: u64) -> impl Iterator<Item = u64> {
    let dense = (0..24).chain(2 * BLOCK..2 * BLOCK + 340);
    let sums = (BLOCK..BLOCK + 4 * (length / BLOCK)).step_by(3);
    let blocks = (0..length / BLOCK).flat_map(|block| {
        let at = block * BLOCK;
        [at, at + 1 + block * 577 % 4094, at + 4095]
    });
    dense
        .chain(sums)
        .chain(blocks)
        .map(|byte| byte * 8 + byte % 8)
}

#[test]
fn any_flipped_bit_is_refused_where_it_is_or_lies_where_nobody_reads() {
    let (disk, model) = checkpoint();
    let length = file(&disk).length().unwrap();
    let (mut refused, mut harmless) = (0, 0);
    for bit in places(length) {
        let disk = disk.fork();
        disk.flip_bit(FILE, bit).unwrap();
        match read(&disk) {
            Ok(found) => {
                assert!(model.is(&found), "bit {bit} gave wrong rows");
                harmless += 1;
            }
            Err(error) => {
                refused += 1;
                let offset = offset_of(&error);
                let is_in_sums = bit / 8 / BLOCK == 1;
                let is_there = offset / BLOCK == bit / 8 / BLOCK;
                assert!(is_there || is_in_sums, "bit {bit}: {error}");
            }
        }
    }
    assert!(refused > 400 && harmless > 100, "{refused} {harmless}");
}

#[test]
fn damage_that_shows_while_writing_ends_the_writing_and_the_checkpoint() {
    let (disk, model) = checkpoint();
    let blocks = file(&disk).length().unwrap() / BLOCK;
    let mut refused = 0;
    for block in 3..blocks {
        let disk = disk.fork();
        let checkpoint = open(&disk);
        disk.flip_bit(FILE, (block * BLOCK + 99) * 8).unwrap();
        let mut changed = model.clone();
        match change_all(&checkpoint, &mut changed) {
            Ok(()) => {
                if let Ok(found) = Model::of(&checkpoint.view().unwrap()) {
                    assert!(changed.is(&found), "block {block}");
                }
            }
            Err(error) => {
                refused += 1;
                assert_eq!(offset_of(&error), block * BLOCK, "{error}");
                assert_eq!(offset_of(&checkpoint.view().err().unwrap()), block * BLOCK);
                assert_eq!(offset_of(&checkpoint.begin().err().unwrap()), block * BLOCK);
            }
        }
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn block_in_the_place_of_another_is_refused() {
    let (disk, model) = checkpoint();
    let content = disk.read(FILE).unwrap();
    let block = |number: usize| &content[number * 4096..(number + 1) * 4096];
    let mut refused = 0;
    for number in 3..content.len() / 4096 - 1 {
        let disk = disk.fork();
        let offset = number as u64 * BLOCK;
        file(&disk).write_at(offset, block(number + 1)).unwrap();
        match read(&disk) {
            Ok(found) => assert!(model.is(&found)),
            Err(error) => {
                refused += 1;
                assert_eq!(offset_of(&error), offset);
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn file_that_was_cut_is_refused_when_it_is_opened() {
    let (disk, _) = checkpoint();
    let length = file(&disk).length().unwrap();
    for length in (0..length).step_by(1024) {
        let disk = disk.fork();
        file(&disk).set_length(length).unwrap();
        let error = try_open(&disk).err();
        let _ = offset_of(&error.unwrap_or_else(|| panic!("cut to {length}")));
    }
}

#[test]
fn file_that_was_lengthened_is_read_right_or_refused_where_it_ends() {
    let (disk, model) = checkpoint();
    let length = file(&disk).length().unwrap();
    for length in (length..length + 20 * BLOCK).step_by(1024).skip(1) {
        let disk = disk.fork();
        file(&disk).set_length(length).unwrap();
        match read(&disk) {
            Ok(found) => assert!(model.is(&found) && length % BLOCK == 0, "{length}"),
            Err(error) => assert_eq!(offset_of(&error), length),
        }
    }
}

#[test]
fn checkpoint_of_another_group_is_refused() {
    let (disk, _) = checkpoint();
    disk.rename(FILE, "checkpoint-g4").unwrap();
    let store = crate::support::store(&disk);
    let error = store.open(leasehold_types::GroupId::new(4)).err().unwrap();
    assert!(error.to_string().contains("another group"), "{error}");
}

#[test]
fn newer_format_is_refused_with_both_numbers() {
    let (disk, _) = checkpoint();
    let mut head = disk.read(FILE).unwrap()[..20].to_vec();
    head[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let checksum = crc32fast::hash(&head[..16]);
    head[16..].copy_from_slice(&checksum.to_le_bytes());
    file(&disk).write_at(0, &head).unwrap();
    let error = try_open(&disk).err().unwrap();
    let message = error.to_string();
    assert!(
        message.contains("format 9") && message.contains(&format!("up to {CHECKPOINT_FORMAT}")),
        "{message}"
    );
    assert!(matches!(
        error,
        CheckpointError::NewerFormat {
            found: 9,
            supported: CHECKPOINT_FORMAT,
            ..
        }
    ));
}
