//! The documents that the demo has worked on, and what their results must be.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use leasehold_types::limits;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

/// One job's payload, and the result that a direct computation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) text: Bytes,
    pub(crate) expected: String,
}

/// What the workers run: ordinary commands, and a moment's work.
pub(crate) const SCRIPT: &str = r#"f=$(mktemp) && trap 'rm -f "$f"' EXIT && cat > "$f" &&
set -- $(sha256sum < "$f") && sum=$1 && set -- $(wc -lwc < "$f") && sleep 0.25 && echo "$sum $1 $2 $3""#;

impl Document {
    fn new(name: String, text: Vec<u8>) -> Self {
        let expected = digest_and_count(&text);
        Self {
            name,
            text: text.into(),
            expected,
        }
    }

    /// Whether a result is what the direct computation gave.
    pub(crate) fn accepts(&self, result: &[u8]) -> bool {
        String::from_utf8_lossy(result).trim() == self.expected
    }
}

/// SHA-256, lines, words and bytes: the same as [`SCRIPT`] prints, computed here.
fn digest_and_count(text: &[u8]) -> String {
    let sum: String = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .count();
    format!("{sum} {lines} {words} {}", text.len())
}

/// Writes so many documents out of a seed.
pub(crate) fn generate(count: u32, seed: u64) -> Vec<Document> {
    let mut random = SmallRng::seed_from_u64(seed);
    let document = |number| Document::new(format!("document-{number:05}"), text(&mut random));
    (1..=count).map(document).collect()
}

const WORDS: [&str; 16] = [
    "lease", "fence", "worker", "region", "shard", "epoch", "the", "a", "takes", "returns",
    "keeps", "quietly", "again", "twice", "never", "once",
];

fn text(random: &mut SmallRng) -> Vec<u8> {
    let mut text = String::new();
    for _line in 0..random.random_range(5..60) {
        let words =
            (0..random.random_range(3..14)).map(|_| WORDS[random.random_range(0..WORDS.len())]);
        text.push_str(&words.collect::<Vec<_>>().join(" "));
        text.push_str(".\n");
    }
    text.into_bytes()
}

/// Takes each file of a folder that fits into a job.
pub(crate) fn read_folder(folder: &Path) -> anyhow::Result<Vec<Document>> {
    let entries = fs::read_dir(folder).with_context(|| format!("folder {}", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    let documents = files
        .iter()
        .map(|path| read_file(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if documents.is_empty() {
        bail!(
            "folder {} has no files: give one that has",
            folder.display()
        );
    }
    Ok(documents)
}

fn read_file(path: &Path) -> anyhow::Result<Document> {
    let text = fs::read(path).with_context(|| format!("file {}", path.display()))?;
    if text.len() > limits::INLINE_BYTES {
        bail!(
            "file {} has {} bytes, a payload at most {}: take it out of the folder",
            path.display(),
            text.len(),
            limits::INLINE_BYTES
        );
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Document::new(name, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Launch, run};

    #[tokio::test]
    async fn ordinary_commands_and_direct_computation_agree() {
        for document in generate(3, 7) {
            let command = ["sh", "-c", SCRIPT].map(str::to_owned);
            let launch = Launch {
                command: &command,
                environment: Vec::new(),
                payload: document.text.clone(),
            };
            let finished = run(launch, &|_| {}).await.unwrap();
            assert!(
                document.accepts(&finished.stdout),
                "{finished:?} for {document:?}"
            );
        }
    }

    #[test]
    fn same_seed_writes_the_same_documents() {
        assert_eq!(generate(20, 3), generate(20, 3));
        assert_ne!(generate(20, 3), generate(20, 4));
    }

    #[test]
    fn file_that_fits_no_job_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("big.bin"),
            vec![0; limits::INLINE_BYTES + 1],
        )
        .unwrap();
        let error = read_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("big.bin"), "{error}");
    }
}
