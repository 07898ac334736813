//! Replays the corpora. Inputs that once caused a failure, and interesting ones, must pass.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use innkeeper_fuzz::TARGETS;

/// Far longer than any input takes. An endless search counts as a failure, too.
const LONGEST: Duration = Duration::from_secs(5);

fn entries(directory: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn every_corpus_holds() {
    for (name, target) in TARGETS {
        let corpus = entries(&format!("corpus/{name}"));
        assert!(corpus.len() >= 5, "the corpus of {name} has only {} files", corpus.len());
        for file in corpus {
            let data = fs::read(&file).expect("a file of the corpus");
            assert!(data.len() <= 4096, "{} is large for a corpus", file.display());
            let begun = Instant::now();
            assert!(catch_unwind(|| target(&data)).is_ok(), "{} does not hold", file.display());
            let took = begun.elapsed();
            assert!(took < LONGEST, "{} took {took:?}", file.display());
        }
    }
}

#[test]
fn each_target_has_its_program_and_its_corpus() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for directory in ["corpus", "libfuzzer/targets"] {
        let found: BTreeSet<String> = entries(directory).iter().map(|path| stem(path)).collect();
        assert_eq!(found, expected, "{directory}");
    }
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/Cargo.toml"))
        .expect("the programs' manifest");
    for name in expected {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no program");
        assert!(entries("libfuzzer/targets").iter().any(|path| {
            stem(path) == name
                && fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("\"{name}\"")))
        }));
    }
}
