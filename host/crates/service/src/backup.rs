//! Backups: every row of one moment in one file of our own, with a digest for each chunk, read and written by both databases.
//!
//! The file: `KBNBACK1`, chunks (lz4 of rows of one table), the manifest (JSON), and at the end the manifest's length (8 bytes),
//! its SHA-256 and `KBNBEND1`. One format for both stores needs no other program, and moves a platform from one to the other.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use koban_domain::journal::Head;
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_store::backup::{Cell, Kind, Table};
use koban_store::{Schema, Store, StoreError, schema_version};
use serde::{Deserialize, Serialize};

use crate::verify::{self, Difference, Verdict};

const BEGIN: &[u8; 8] = b"KBNBACK1";
const END: &[u8; 8] = b"KBNBEND1";
/// Length, digest and mark at the end of the file.
const TRAILER: u64 = 8 + 32 + 8;
/// Bytes of rows in a chunk; a row that is longer has a chunk of its own.
const CHUNK: usize = 1024 * 1024;
/// Most bytes of a chunk or manifest that is read: a component or a file may have some MiB.
const READ_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of rows that one page aims at.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
const PAGE_ROWS_MAX: usize = 2_000;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the file's format.
    pub format: u32,
    /// The database it was made of: `sqlite` or `postgres`.
    pub store: String,
    /// The version of its tables.
    pub schema: i64,
    /// When it was made, Unix milliseconds.
    pub at: i64,
    /// Entries in the journal.
    pub sequence: i64,
    /// The last one's hash.
    pub hash: Digest,
    /// Tables, in order of name.
    pub tables: Vec<TableEntry>,
    /// Chunks, in order of place.
    pub chunks: Vec<ChunkEntry>,
}

/// A table in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Its name.
    pub name: String,
    /// Names and kinds (`integer`, `text`, `bytes`) of its columns.
    pub columns: Vec<(String, String)>,
    /// How many rows.
    pub rows: u64,
}

/// A chunk's place in the file, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// The number of its table in the manifest.
    pub table: u16,
    /// How many rows.
    pub rows: u32,
}

/// What came of looking at a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it says that it holds; nothing if that cannot be read.
    pub manifest: Option<Manifest>,
    /// Digest of the manifest: whoever keeps it elsewhere can tell this backup from any other.
    pub digest: Digest,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// What keeps a backup from being made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be used.
    #[error("{path} cannot be used for a backup")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be read or filled.
    #[error("the database could not be read or filled")]
    Store(#[from] StoreError),
    /// The file is not what was written.
    #[error("{} {}; `koban backup verify` looks at the whole file", .0.place, .0.what)]
    Damaged(Difference),
    /// It was made with other tables.
    #[error(
        "the backup has tables of version {found}, this koban makes {needed}; restore it with the koban that made it, then run `koban migrate`"
    )]
    Schema {
        /// The backup's version.
        found: i64,
        /// This program's.
        needed: i64,
    },
    /// What was restored is not what was backed up.
    #[error("what was restored is not what was backed up: {0}")]
    NotTheSame(String),
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> BackupError + '_ {
    |source| BackupError::File { path: path.to_owned(), source }
}

/// Writes a backup of this moment; hosts go on working. The file appears under its name when it is whole and synced.
pub async fn create(store: &Store, path: &Path, now: Timestamp) -> Result<(Manifest, Digest), BackupError> {
    let Schema::Current(schema) = store.schema().await? else {
        store.require_current().await?;
        return Err(StoreError::Setup("the database's tables changed just now".to_owned()).into());
    };
    if path.exists() {
        return Err(at(path)(std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = write(store, &part, schema, now).await;
    let written = match written {
        Ok(written) => std::fs::rename(&part, path).map(|()| written).map_err(at(path)),
        Err(error) => Err(error),
    };
    if written.is_err() {
        // What is not whole is nobody's backup.
        let _ = std::fs::remove_file(&part);
    }
    written
}

async fn write(store: &Store, path: &Path, schema: i64, now: Timestamp) -> Result<(Manifest, Digest), BackupError> {
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(at(path))?;
    let mut writer = Chunks { file: BufWriter::new(file), offset: 0, entries: Vec::new() };
    writer.put(BEGIN).map_err(at(path))?;
    let mut snapshot = store.snapshot().await?;
    let head = snapshot.head().await?.head;
    let tables = snapshot.tables().await?;
    let mut entries = Vec::with_capacity(tables.len());
    for (number, table) in (0_u16..).zip(&tables) {
        let (mut after, mut limit, mut count): (Option<Vec<Cell>>, usize, u64) = (None, 50, 0);
        let (mut chunk, mut rows) = (Vec::with_capacity(CHUNK), 0_u32);
        loop {
            let page_limit = u16::try_from(limit).unwrap_or(1);
            let page = snapshot.rows_after(table, after.as_deref(), page_limit).await?;
            let (read, mut bytes) = (page.len(), 0);
            for row in page {
                let before = chunk.len();
                row.iter().for_each(|cell| put_cell(&mut chunk, cell));
                bytes += chunk.len() - before;
                (rows, count) = (rows + 1, count + 1);
                if chunk.len() >= CHUNK {
                    writer.chunk(number, rows, &chunk).map_err(at(path))?;
                    chunk.clear();
                    rows = 0;
                }
                after = Some(row);
            }
            if read < limit {
                break;
            }
            // Small rows by the thousand, large ones a few at a time.
            limit = (PAGE_BYTES / (bytes / read).max(1)).clamp(1, PAGE_ROWS_MAX);
        }
        if rows > 0 {
            writer.chunk(number, rows, &chunk).map_err(at(path))?;
        }
        entries.push(TableEntry { name: table.name.clone(), columns: columns(table), rows: count });
    }
    drop(snapshot);
    let manifest = Manifest {
        format: 1,
        store: store.dialect().word().to_owned(),
        schema,
        at: now.0,
        sequence: head.sequence,
        hash: head.hash,
        tables: entries,
        chunks: std::mem::take(&mut writer.entries),
    };
    let text = serde_json::to_vec(&manifest).map_err(std::io::Error::from).map_err(at(path))?;
    let digest = Digest::of(&text);
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes();
    for piece in [&text[..], &length, &digest.0, END] {
        writer.put(piece).map_err(at(path))?;
    }
    let file = writer.file.into_inner().map_err(std::io::IntoInnerError::into_error).map_err(at(path))?;
    file.sync_all().map_err(at(path))?;
    Ok((manifest, digest))
}

fn columns(table: &Table) -> Vec<(String, String)> {
    table.columns.iter().map(|(name, kind)| (name.clone(), kind.word().to_owned())).collect()
}

struct Chunks {
    file: BufWriter<File>,
    offset: u64,
    entries: Vec<ChunkEntry>,
}

impl Chunks {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.offset += u64::try_from(bytes.len()).unwrap_or(0);
        self.file.write_all(bytes)
    }

    fn chunk(&mut self, table: u16, rows: u32, bytes: &[u8]) -> std::io::Result<()> {
        let packed = lz4_flex::compress_prepend_size(bytes);
        let length = u64::try_from(packed.len()).unwrap_or(u64::MAX);
        self.entries.push(ChunkEntry { offset: self.offset, length, digest: Digest::of(&packed), table, rows });
        self.put(&packed)
    }
}

/// A value: what it is (0 nothing, 1 number, 2 text, 3 bytes), then eight bytes, or a length in four and so many bytes.
fn put_cell(bytes: &mut Vec<u8>, cell: &Cell) {
    let mut long = |tag: u8, content: &[u8]| {
        bytes.push(tag);
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(content);
    };
    match cell {
        Cell::Text(text) => long(2, text.as_bytes()),
        Cell::Bytes(content) => long(3, content),
        Cell::Null => bytes.push(0),
        Cell::Integer(value) => {
            bytes.push(1);
            bytes.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn take_cell(rest: &mut &[u8]) -> Option<Cell> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    let mut long = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (content, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        *rest = after;
        Some(content.to_vec())
    };
    match tag {
        0 => Some(Cell::Null),
        2 => String::from_utf8(long()?).ok().map(Cell::Text),
        3 => long().map(Cell::Bytes),
        1 => {
            let (value, after) = rest.split_first_chunk::<8>()?;
            *rest = after;
            Some(Cell::Integer(i64::from_be_bytes(*value)))
        }
        _ => None,
    }
}

/// An opened backup whose manifest is whole.
struct Opened {
    file: BufReader<File>,
    manifest: Manifest,
    digest: Digest,
}

type Look<T> = Result<Result<T, Difference>, BackupError>;

fn differs<T>(place: impl Into<String>, what: impl Into<String>) -> Look<T> {
    Ok(Err(Difference { place: place.into(), what: what.into() }))
}

fn open(path: &Path) -> Look<Opened> {
    let file = File::open(path).map_err(at(path))?;
    let length = file.metadata().map_err(at(path))?.len();
    let mut file = BufReader::new(file);
    let first = u64::try_from(BEGIN.len()).unwrap_or(0);
    if length < first + TRAILER {
        return differs("the file", format!("has {length} bytes: it was cut off, or is no backup"));
    }
    let mut begin = [0; 8];
    file.read_exact(&mut begin).map_err(at(path))?;
    if begin != *BEGIN {
        return differs("bytes 0 to 7", "are not those that a backup begins with");
    }
    let mut trailer = [0; 48];
    file.seek(SeekFrom::Start(length - TRAILER)).and_then(|_| file.read_exact(&mut trailer)).map_err(at(path))?;
    let (manifest_length, rest) = trailer.split_first_chunk::<8>().map_or(([0; 8], &trailer[..]), |(a, b)| (*a, b));
    let place = format!("bytes {} to {}", length - TRAILER, length - 1);
    if rest[32..] != *END {
        return differs(place, "are not those that a backup ends with: it was cut off or changed there");
    }
    let manifest_length = u64::from_be_bytes(manifest_length);
    if manifest_length > (length - first - TRAILER).min(READ_MAX) {
        return differs(place, "name a manifest longer than the file");
    }
    let begins = length - TRAILER - manifest_length;
    let bytes = read(&mut file, begins, manifest_length).map_err(at(path))?;
    let digest = Digest::of(&bytes);
    let place = format!("the manifest (bytes {begins} to {})", length - 1);
    if digest.0[..] != rest[..32] {
        return differs(place, "has been changed: its digest does not follow from its bytes");
    }
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return differs(place, format!("cannot be read: {error}")),
    };
    if manifest.format != 1 {
        return differs(place, format!("has the format {}; this koban reads 1", manifest.format));
    }
    let mut offset = first;
    for (number, chunk) in manifest.chunks.iter().enumerate() {
        if chunk.offset != offset || chunk.length > READ_MAX || usize::from(chunk.table) >= manifest.tables.len() {
            return differs(place, format!("puts chunk {number} where it is not"));
        }
        offset += chunk.length;
    }
    if offset != begins {
        return differs(place, "does not account for every byte of the file");
    }
    Ok(Ok(Opened { file, manifest, digest }))
}

fn read(file: &mut BufReader<File>, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Opened {
    /// The rows of a chunk.
    fn rows(&mut self, number: usize, path: &Path) -> Look<Vec<Vec<Cell>>> {
        let chunk = &self.manifest.chunks[number];
        let table = &self.manifest.tables[usize::from(chunk.table)];
        let last = (chunk.offset + chunk.length).saturating_sub(1);
        let place = format!("chunk {number} (bytes {} to {last}, table {})", chunk.offset, table.name);
        let packed = read(&mut self.file, chunk.offset, chunk.length).map_err(at(path))?;
        if Digest::of(&packed) != chunk.digest {
            return differs(place, "has been changed: its digest does not follow from its bytes");
        }
        let size = packed.first_chunk::<4>().map_or(u64::MAX, |size| u64::from(u32::from_le_bytes(*size)));
        let bytes = match (size <= READ_MAX).then(|| lz4_flex::decompress_size_prepended(&packed)) {
            Some(Ok(bytes)) => bytes,
            _ => return differs(place, "cannot be unpacked"),
        };
        let mut rest = &bytes[..];
        let mut rows = Vec::new();
        for _ in 0..chunk.rows {
            let row: Option<Vec<Cell>> = table.columns.iter().map(|_| take_cell(&mut rest)).collect();
            match row {
                Some(row) => rows.push(row),
                None => return differs(place, "holds something that is no row"),
            }
        }
        if rest.is_empty() { Ok(Ok(rows)) } else { differs(place, "holds more than its rows") }
    }

    /// Whether the chunks have as many rows of each table as the manifest says.
    fn counts(&self) -> Result<(), Difference> {
        for (number, table) in (0_u16..).zip(&self.manifest.tables) {
            let chunks = self.manifest.chunks.iter().filter(|chunk| chunk.table == number);
            let found: u64 = chunks.map(|chunk| u64::from(chunk.rows)).sum();
            if found != table.rows {
                let what = format!("counts {} rows of {}, its chunks have {found}", table.rows, table.name);
                return Err(Difference { place: "the manifest".to_owned(), what });
            }
        }
        Ok(())
    }
}

/// Reads the whole file and names the first place that is not as it was written.
pub fn check(path: &Path) -> Result<Checked, BackupError> {
    let mut opened = match open(path)? {
        Ok(opened) => opened,
        Err(difference) => {
            return Ok(Checked { manifest: None, digest: Digest::default(), difference: Some(difference) });
        }
    };
    let mut difference = opened.counts().err();
    for number in 0..opened.manifest.chunks.len() {
        if difference.is_some() {
            break;
        }
        difference = opened.rows(number, path)?.err();
    }
    Ok(Checked { manifest: Some(opened.manifest), digest: opened.digest, difference })
}

/// Restores a backup into an empty database of either kind, in one transaction, and verifies the books that came of it.
pub async fn restore(store: &Store, path: &Path) -> Result<(Manifest, Verdict), BackupError> {
    let checked = check(path)?;
    if let Some(difference) = checked.difference {
        return Err(BackupError::Damaged(difference));
    }
    let mut opened = open(path)?.map_err(BackupError::Damaged)?;
    let needed = schema_version();
    if needed != opened.manifest.schema {
        return Err(BackupError::Schema { found: opened.manifest.schema, needed });
    }
    let mut filling = store.fill().await?;
    let tables = filling.tables().await?;
    let mut places = Vec::with_capacity(opened.manifest.tables.len());
    for entry in &opened.manifest.tables {
        let same = |table: &&Table| table.name == entry.name && columns_are(table, &entry.columns);
        match tables.iter().find(same) {
            Some(table) => places.push(table),
            None => {
                let text = format!("the table {} is not one that this koban makes", entry.name);
                return Err(BackupError::NotTheSame(text));
            }
        }
    }
    for number in 0..opened.manifest.chunks.len() {
        let rows = opened.rows(number, path)?.map_err(BackupError::Damaged)?;
        let table = usize::from(opened.manifest.chunks[number].table);
        filling.put(places[table], ordered(places[table], &opened.manifest.tables[table].columns, rows)).await?;
    }
    filling.finish().await?;
    let verdict = verify::verify(store).await?;
    let Head { sequence, hash, .. } = verdict.head;
    if let Some(difference) = &verdict.difference {
        return Err(BackupError::NotTheSame(format!("{} {}", difference.place, difference.what)));
    }
    if (sequence, hash) != (opened.manifest.sequence, opened.manifest.hash) {
        return Err(BackupError::NotTheSame(format!("the journal ends at entry {sequence} with {hash}")));
    }
    Ok((opened.manifest, verdict))
}

/// The same columns, in whatever order the two databases have them.
fn columns_are(table: &Table, columns: &[(String, String)]) -> bool {
    let has = |(name, kind): &(String, String)| {
        table.columns.iter().any(|(column, of)| column == name && Kind::from_word(kind) == Some(*of))
    };
    table.columns.len() == columns.len() && columns.iter().all(has)
}

/// Rows with their values in the order of the table's columns.
fn ordered(table: &Table, columns: &[(String, String)], rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    let place = |name: &String| columns.iter().position(|(column, _)| column == name).unwrap_or(0);
    let places: Vec<usize> = table.columns.iter().map(|(name, _)| place(name)).collect();
    if places.iter().enumerate().all(|(at, place)| at == *place) {
        return rows;
    }
    rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_and_pieces_of_them_do_not() {
        let cells = [
            Cell::Null,
            Cell::Integer(i64::MIN),
            Cell::Text("小判".into()),
            Cell::Bytes(vec![0, 255]),
            Cell::Text(String::new()),
        ];
        let mut bytes = Vec::new();
        cells.iter().for_each(|cell| put_cell(&mut bytes, cell));
        let mut rest = &bytes[..];
        for cell in &cells {
            assert_eq!(take_cell(&mut rest).as_ref(), Some(cell));
        }
        assert!(rest.is_empty() && take_cell(&mut rest).is_none());
        for wrong in [&[1, 0, 0][..], &[2, 0, 0, 0, 5, b'a'], &[3, 255, 255, 255, 255], &[9], &[2, 0, 0, 0, 1, 0xff]] {
            assert!(take_cell(&mut &wrong[..]).is_none(), "{wrong:?}");
        }
    }
}
