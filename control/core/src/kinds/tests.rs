use super::*;

#[test]
fn every_kind_is_found_by_each_of_its_words() {
    for kind in AnyKind::all() {
        let DocumentKind { document, word, plural, columns, sections, .. } = *kind.words();
        assert_eq!(AnyKind::parse(word), Some(kind));
        assert_eq!(AnyKind::parse(plural), Some(kind));
        assert_eq!(AnyKind::of_document(document), Some(kind));
        assert_eq!(document.to_lowercase(), word, "the key of a row is the kind in small letters");
        assert!(!columns.is_empty() && !sections.is_empty() && kind.facts().most > 0);
        if let AnyKind::Policy(kind) = kind {
            assert_eq!(PolicyKind::parse(plural), Some(kind));
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                word,
                "and so is its value in the store"
            );
        }
    }
    assert_eq!(PolicyKind::parse("workload"), None);
}

/// Checks that the command line has every kind that can be applied, and no other.
#[test]
fn the_table_of_the_api_has_every_kind() {
    let words = |kind: AnyKind| kind.words().document;
    let mut here: Vec<&str> = AnyKind::all().map(words).filter(|word| *word != "Sample").collect();
    let mut there = holdfast_api::kinds::ALL.map(|kind| kind.document);
    here.sort_unstable();
    there.sort_unstable();
    assert_eq!(here, there);
}
