use super::*;

const GROUP: GroupId = GroupId::new(1);

fn index(cache_bytes_max: usize) -> Index {
    Index::new(BTreeMap::new(), cache_bytes_max)
}

/// Appends one entry; gives its key and ticket.
fn append(index: &mut Index, at: u64, content: &'static str) -> (Key, u64) {
    let entries = vec![(at, Bytes::from_static(content.as_bytes()))];
    let group = GROUP;
    let made = index.apply(Operation::Append { group, entries }).unwrap();
    (made.records[0].key, made.ticket)
}

fn truncate_all(index: &mut Index) {
    let (group, after) = (GROUP, None);
    index.apply(Operation::Truncate { group, after }).unwrap();
}

fn put(index: &mut Index, value: &'static str) -> (Key, u64) {
    let (group, slot, value) = (GROUP, Slot::Vote, Bytes::from_static(value.as_bytes()));
    let made = index.apply(Operation::Put { group, slot, value }).unwrap();
    (made.records[0].key, made.ticket)
}

const fn place(segment: u64) -> Place {
    Place {
        segment,
        offset: 4128,
        length: 3,
    }
}

fn found(index: &Index, at: u64) -> Found {
    index.find(GROUP, at..at + 1, 1).remove(0).1
}

#[test]
fn entry_replaced_while_it_was_written_keeps_its_new_content() {
    let mut index = index(0);
    let (key, old) = append(&mut index, 0, "old");
    truncate_all(&mut index);
    let (_, new) = append(&mut index, 0, "new");
    index.stored(key, old, place(1));
    assert_eq!(
        index.place(GROUP, 0),
        None,
        "the new entry is not on the disk"
    );
    assert_eq!(
        found(&index, 0),
        Found::InMemory(Bytes::from_static(b"new"))
    );
    index.stored(key, new, place(1));
    assert_eq!(found(&index, 0), Found::At(place(1)));
}

#[test]
fn eviction_of_a_replaced_entry_spares_its_successor() {
    let mut index = index(ENTRY_COST + 3);
    let (key, old) = append(&mut index, 0, "old");
    index.stored(key, old, place(1));
    truncate_all(&mut index);
    let (_, new) = append(&mut index, 0, "new");
    let (other, ticket) = append(&mut index, 1, "two");
    index.stored(other, ticket, place(1));
    assert_eq!(
        found(&index, 0),
        Found::InMemory(Bytes::from_static(b"new"))
    );
    index.stored(key, new, place(2));
    assert_eq!(
        found(&index, 1),
        Found::At(place(1)),
        "the oldest goes first"
    );
}

#[test]
fn value_counts_as_stored_when_its_newest_is() {
    let mut index = index(0);
    let (key, first) = put(&mut index, "first");
    let (_, second) = put(&mut index, "second");
    index.stored(key, first, place(1));
    assert_eq!(index.stored_slot(GROUP, Slot::Vote), None);
    index.stored(key, second, place(1));
    assert_eq!(
        index.stored_slot(GROUP, Slot::Vote).as_deref(),
        Some(&b"second"[..])
    );
}

#[test]
fn entry_moves_only_from_where_it_is() {
    let mut index = index(0);
    let (key, ticket) = append(&mut index, 0, "one");
    index.stored(key, ticket, place(3));
    index.moved(GROUP, 0, place(1), place(9));
    assert_eq!(index.place(GROUP, 0), Some(place(3)));
    index.moved(GROUP, 0, place(3), place(9));
    assert_eq!(index.place(GROUP, 0), Some(place(9)));
}

#[test]
fn operation_that_changes_nothing_makes_no_record() {
    let mut index = index(0);
    append(&mut index, 5, "x");
    let group = GROUP;
    let truncate = Operation::Truncate {
        group,
        after: Some(5),
    };
    assert!(index.apply(truncate).unwrap().records.is_empty());
    let mark = Bytes::from_static(b"later");
    let purge = Operation::Purge {
        group,
        upto: 7,
        mark: mark.clone(),
    };
    assert_eq!(index.apply(purge).unwrap().records.len(), 1);
    let older = Operation::Purge {
        group,
        upto: 6,
        mark: Bytes::new(),
    };
    assert!(index.apply(older).unwrap().records.is_empty());
    assert_eq!(index.bounds(GROUP).purged, Some(mark));
}
