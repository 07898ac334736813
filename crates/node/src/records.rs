//! Many values of one type, kept in a temporary file until they are read in order.

use std::cell::RefCell;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use tempfile::SpooledTempFile;

/// The most bytes kept in memory.
const IN_MEMORY: usize = 256 * 1024;
/// The bytes written at once.
const BUFFER: usize = 64 * 1024;

/// The file while it is written: a line of JSON per value in an unnamed temporary file, and 16 bytes per value in
/// memory.
pub(crate) struct Writing<T> {
    file: BufWriter<SpooledTempFile>,
    length: u64,
    places: Vec<(i64, u64)>,
    kind: PhantomData<T>,
}

impl<T: Serialize> Writing<T> {
    pub fn new() -> Self {
        let file = BufWriter::with_capacity(BUFFER, SpooledTempFile::new(IN_MEMORY));
        Self { file, length: 0, places: Vec::new(), kind: PhantomData }
    }

    /// Adds a value. Values are read in the order of `rank`; those of equal rank in the order in which they were
    /// added.
    pub fn push(&mut self, rank: i64, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.places.push((rank, self.length));
        self.length += line.len() as u64;
        Ok(())
    }

    /// Ends the writing.
    pub fn finish(mut self) -> io::Result<Records<T>> {
        self.places.sort_by_key(|(rank, _)| *rank);
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        let file = RefCell::new((0, BufReader::new(file)));
        Ok(Records { file, places: self.places, kind: PhantomData })
    }
}

/// The values, ready to be read. They serialize as a sequence, with one value in memory at a time.
pub(crate) struct Records<T> {
    /// The file with the position of its reader.
    file: RefCell<(u64, BufReader<SpooledTempFile>)>,
    places: Vec<(i64, u64)>,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Records<T> {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = io::Result<T>> + '_ {
        let mut line = Vec::new();
        self.places.iter().map(move |(_, place)| {
            let (at, file) = &mut *self.file.borrow_mut();
            if at != place {
                file.seek(SeekFrom::Start(*place))?;
            }
            line.clear();
            *at = place + file.read_until(b'\n', &mut line)? as u64;
            Ok(serde_json::from_slice(&line)?)
        })
    }
}

impl<T: Serialize + DeserializeOwned> Serialize for Records<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        for value in self.iter() {
            sequence.serialize_element(&value.map_err(S::Error::custom)?)?;
        }
        sequence.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_by_rank_and_those_of_one_rank_as_they_were_written() {
        let mut writing = Writing::new();
        // Enough to exceed the memory limit.
        let text = "x".repeat(100);
        for n in 0..10_000 {
            writing.push(-(n % 100), &(n, text.clone())).unwrap();
        }
        let records = writing.finish().unwrap();
        let values: Vec<(i64, String)> = records.iter().collect::<io::Result<_>>().unwrap();
        let mut expected: Vec<_> = (0..10_000).map(|n| (n, text.clone())).collect();
        expected.sort_by_key(|(n, _)| -(n % 100));
        assert_eq!(values, expected);
        assert_eq!(serde_json::to_string(&records).unwrap(), serde_json::to_string(&expected).unwrap());
        assert_eq!(
            serde_json::to_string_pretty(&records).unwrap(),
            serde_json::to_string_pretty(&expected).unwrap()
        );
    }

    #[test]
    fn none_are_an_empty_sequence() {
        let records = Writing::<i64>::new().finish().unwrap();
        assert_eq!((records.len(), serde_json::to_string_pretty(&records).unwrap()), (0, "[]".to_owned()));
    }
}
