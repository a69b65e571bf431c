//! The page of the problems has every id, and no other.

use std::{fs, path::Path};

use control::ProblemId;

#[test]
fn every_problem_has_its_row_in_the_order_of_the_ids() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/problems.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("\n## The ids\n").unwrap();
    let rows = table.lines().filter_map(|line| {
        let (id, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let cells: Vec<&str> = rest.trim_end_matches(" |").split(" | ").collect();
        assert_eq!(cells.len(), 2, "{line}");
        assert!(cells.iter().all(|cell| !cell.trim().is_empty()), "{line}");
        Some(id)
    });
    let ids: Vec<&str> = ProblemId::ALL.iter().map(|id| id.name()).collect();
    assert_eq!(rows.collect::<Vec<_>>(), ids);
}
