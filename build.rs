//! Compresses the assets of the inspector's page, which the program has in it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

const ASSETS: &str = "src/commands/inspect/assets";

fn main() {
    println!("cargo::rerun-if-changed={ASSETS}");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    for asset in fs::read_dir(ASSETS).expect("the assets") {
        let asset = asset.expect("an asset").path();
        let name = asset.file_name().expect("a file").to_string_lossy();
        let file = fs::File::create(Path::new(&out).join(format!("{name}.gz")));
        let mut gzip = GzEncoder::new(file.expect("a new file"), Compression::best());
        let text = fs::read(&asset).expect("an asset");
        gzip.write_all(&text).expect("a full disk builds nothing");
        gzip.finish().expect("a full disk builds nothing");
    }
}
