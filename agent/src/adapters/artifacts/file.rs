//! Unfinished files: what is there already, and beginning anew.

use std::io;

use ring::digest::{Context, SHA256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// Hashes what is already in the file; returns the digest so far and the length. The file is then
/// at its end.
pub(in crate::adapters) async fn rehash(file: &mut File) -> io::Result<(Context, u64)> {
    let mut hash = Context::new(&SHA256);
    let mut have = 0;
    let mut piece = vec![0; 64 * 1024];
    file.seek(io::SeekFrom::Start(0)).await?;
    loop {
        let length = file.read(&mut piece).await?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
            return Ok((hash, have));
        };
        hash.update(read);
        have += u64::try_from(length).unwrap_or(0);
    }
}

/// Empties a file.
pub(in crate::adapters) async fn begin_anew(file: &mut File) -> io::Result<(Context, u64)> {
    file.set_len(0).await?;
    file.seek(io::SeekFrom::Start(0)).await?;
    Ok((Context::new(&SHA256), 0))
}
