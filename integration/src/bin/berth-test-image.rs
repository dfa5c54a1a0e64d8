//! Makes the image that tests run, if it is missing, and prints where its root file system
//! is: for tests of single crates, which take it from `BERTH_TEST_ROOTFS`.

fn main() {
    println!("{}", berth_integration::image::root_fs().display());
}
