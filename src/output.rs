//! Where results go: stdout, and the files under `--out`.

use crate::exit::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Prints to stdout. A reader that went away (`| head`) wants no more, which is no failure.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Testbed(format!("writing to stdout failed: {error}")))
        }
        _ => Ok(()),
    }
}

/// The directory of a campaign's files.
pub struct Output {
    directory: PathBuf,
}

impl Output {
    /// Creates the directory and makes sure that it takes files, before anything has run.
    pub fn create(directory: &Path) -> Result<Output, Error> {
        let failures = directory.join("failures");
        let refused = |error: io::Error| {
            let path = directory.display();
            Error::Input(format!(
                "--out {path}: cannot write there: {error}; name another directory"
            ))
        };
        fs::create_dir_all(&failures).map_err(refused)?;
        let probe = failures.join(".everyack-probe");
        put(&probe, "").map_err(refused)?;
        fs::remove_file(&probe).map_err(refused)?;
        Ok(Output {
            directory: directory.to_path_buf(),
        })
    }

    /// Writes one file; `name` is relative to the directory. A file is there whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        write(&self.directory.join(name), text)
    }
}

/// Makes sure that a file can be written, before anything has run.
pub fn may_write(path: &Path) -> Result<(), Error> {
    let part = half_written(path);
    put(&part, "")
        .and_then(|()| fs::remove_file(&part))
        .map_err(|error| {
            let path = path.display();
            Error::Input(format!(
                "--out {path}: cannot write there: {error}; name another file"
            ))
        })
}

/// Writes one file, which is there whole or not at all.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let part = half_written(path);
    put(&part, text)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|error| Error::Testbed(format!("writing {} failed: {error}", path.display())))
}

fn half_written(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

#[allow(clippy::disallowed_methods)] // the one place that writes the command line's files
fn put(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_written_is_an_input_error_before_anything_runs() {
        let file = env!("CARGO_MANIFEST_PATH");
        let error = Output::create(&Path::new(file).join("out")).err().unwrap();
        assert!(matches!(error, Error::Input(_)), "{error}");
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
