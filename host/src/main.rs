//! koban
fn main() {}
