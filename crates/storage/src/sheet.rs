//! Small files that people can read: a title, lines of a word and a value, and a checksum in the last line.
//!
//! Used for what makes a folder one node's, and for where the log starts. Text, because whoever looks into a data
//! folder at night should see which node it belongs to with nothing but `cat`.

use std::io;

use crate::disk::{Disk, OpenMode, read_all, replace};

/// Far more than any sheet has: a longer file is none.
const BYTES_MAX: u64 = 4096;

/// The lines of a sheet, title and checksum left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sheet(Vec<(String, String)>);

/// Why a small file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SheetError {
    #[error("cannot read it")]
    Io(#[from] io::Error),
    #[error("its checksum does not match its content")]
    Checksum,
    #[error("its first line is not {0:?}")]
    Title(&'static str),
    #[error("it has no line {0:?} that can be read")]
    Line(&'static str),
}

fn body(title: &str, lines: &[(&str, String)]) -> String {
    let mut text = format!("{title}\n");
    for (word, value) in lines {
        text.push_str(&format!("{word} {value}\n"));
    }
    text
}

fn checksum(text: &str) -> String {
    format!("crc {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// Writes a sheet in place of the one that is there, durably and in one step.
pub(crate) fn write(
    disk: &dyn Disk,
    name: &str,
    title: &str,
    lines: &[(&str, String)],
) -> io::Result<()> {
    let text = body(title, lines);
    replace(disk, name, format!("{text}{}", checksum(&text)).as_bytes())
}

/// Reads a sheet; `None` when there is no such file.
pub(crate) fn read(
    disk: &dyn Disk,
    name: &str,
    title: &'static str,
) -> Result<Option<Sheet>, SheetError> {
    let file = match disk.open(name, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file.length()? > BYTES_MAX {
        return Err(SheetError::Checksum);
    }
    parse(&read_all(file.as_ref())?, title).map(Some)
}

fn parse(bytes: &[u8], title: &'static str) -> Result<Sheet, SheetError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SheetError::Checksum)?;
    let end = text.rfind("crc ").ok_or(SheetError::Checksum)?;
    let (content, last) = text.split_at(end);
    if last != checksum(content) {
        return Err(SheetError::Checksum);
    }
    let mut lines = content.lines();
    if lines.next() != Some(title) {
        return Err(SheetError::Title(title));
    }
    let split = |line: &str| {
        line.split_once(' ')
            .map(|(word, value)| (word.to_owned(), value.to_owned()))
    };
    Ok(Sheet(lines.filter_map(split).collect()))
}

impl Sheet {
    /// The value of one line.
    pub(crate) fn get<T: std::str::FromStr>(&self, word: &'static str) -> Result<T, SheetError> {
        let line = self.0.iter().find(|(found, _)| found == word);
        line.and_then(|(_, value)| value.parse().ok())
            .ok_or(SheetError::Line(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn sheet_comes_back_as_it_was_written() {
        let disk = MemoryDisk::new();
        write(&disk, "a", "a title", &[("format", "1".to_owned())]).unwrap();
        let sheet = read(&disk, "a", "a title").unwrap().unwrap();
        assert_eq!(sheet.get::<u32>("format").unwrap(), 1);
        assert!(matches!(
            sheet.get::<u32>("other"),
            Err(SheetError::Line("other"))
        ));
        assert!(read(&disk, "b", "a title").unwrap().is_none());
    }

    #[test]
    fn any_flipped_bit_of_a_sheet_is_noticed() {
        let disk = MemoryDisk::new();
        write(&disk, "a", "a title", &[("format", "1".to_owned())]).unwrap();
        for bit in 0..disk.read("a").unwrap().len() as u64 * 8 {
            let disk = disk.fork();
            disk.flip_bit("a", bit).unwrap();
            assert!(read(&disk, "a", "a title").is_err(), "bit {bit}");
        }
    }
}
