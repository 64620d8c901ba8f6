use super::*;

#[test]
fn every_kind_is_found_by_each_of_its_words() {
    for kind in PolicyKind::ALL {
        let Facts { document, word, plural, most, .. } = of(kind).facts();
        assert_eq!(PolicyKind::parse(word), Some(kind));
        assert_eq!(PolicyKind::parse(plural), Some(kind));
        assert_eq!(PolicyKind::of_document(document), Some(kind));
        assert_eq!(document.to_lowercase(), word, "the key of a row is the kind in small letters");
        assert_eq!(serde_json::to_value(kind).unwrap(), word, "and so is its value in the store");
        assert!(most > 0);
    }
    assert_eq!(PolicyKind::parse("workload"), None);
}
