//! Tests of images: what a reference means.

use holdfast_base::ids::Digest;
use holdfast_oci::{Platform, Repository, Twin};
use holdfast_protocol::workload::Artifact;

use super::*;

fn artifact(byte: u8) -> Artifact {
    Artifact { digest: Digest([byte; 32]), size: u64::from(byte) }
}

fn platform(arch: &str, variant: &str, config: u8, layers: &[u8]) -> Platform {
    let layers = layers.iter().map(|byte| artifact(*byte)).collect();
    Platform { arch: arch.into(), variant: variant.into(), config: artifact(config), layers }
}

/// Adds an image under tags.
fn add(
    images: &mut Images,
    name: &str,
    tags: &[&str],
    source: u8,
    platforms: Vec<Platform>,
) -> Digest {
    let twin = Twin::new(platforms).unwrap();
    let digest = twin.digest();
    let name: Repository = name.parse().unwrap();
    let repository = images.repositories.entry(name).or_default();
    let sources = vec![Digest([source; 32])];
    repository.images.insert(digest, Held { sources, pushed_at: 7, copied_from: String::new() });
    for tag in tags {
        repository.tags.insert(tag.parse().unwrap(), digest);
    }
    images.contents.insert(digest, KnownImage::new(ImageRecord { twin, created_at: 7 }));
    digest
}

fn some() -> (Images, Digest, Digest) {
    let mut images = Images::default();
    let one = vec![platform("amd64", "", 10, &[1, 2])];
    let till = add(&mut images, "shop/till", &["1.4", "latest"], 100, one);
    let two = vec![platform("arm", "v7", 20, &[1, 3]), platform("arm", "v6", 21, &[4])];
    let app = add(&mut images, "registry.example/app", &["1.2"], 101, two);
    (images, till, app)
}

#[test]
fn a_reference_means_what_its_tag_or_digest_says() {
    let (images, till, app) = some();
    let source = |byte| Digest([byte; 32]);
    for (text, digest) in [
        ("shop/till:1.4".to_owned(), till),
        ("shop/till".to_owned(), till),
        (format!("shop/till@{till}"), till),
        (format!("shop/till@{}", source(100)), till),
        (format!("shop/till:gone@{till}"), till),
        ("registry.example/app:1.2".to_owned(), app),
        (format!("registry.example/app@{}", source(101)), app),
    ] {
        let image = images.resolve(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!((image.digest, image.name.as_str()), (digest, text.as_str()));
    }
    let image = images.resolve("registry.example/app:1.2").unwrap();
    let files: Vec<u8> = image.platforms[0].files().map(|file| file.digest.0[0]).collect();
    assert_eq!(image.platforms.len(), 2);
    assert_eq!(files, [20, 1, 3], "a device for arm takes the newest variant");
    assert_eq!(image.platform("arm").unwrap().config, artifact(20));
}

#[test]
fn what_means_no_image_says_what_there_is() {
    let (images, till, app) = some();
    for (text, said) in [
        ("shop/till:1.5".to_owned(), "image shop/till has no tag 1.5; it has 1.4, latest"),
        ("registry.example/app".into(), "image registry.example/app has no tag latest; it has 1.2"),
        ("shop/tell:1.4".into(), "there is no image shop/tell:1.4; did you mean shop/till?"),
        ("nginx".into(), "push it first (holdfast image push FILE nginx)"),
        (format!("shop/till@{app}"), "image shop/till was not pushed as sha256:"),
        (format!("shop/till@{}", Digest([101; 32])), "image shop/till was not pushed as"),
        ("Shop/Till".into(), "is not the name of an image"),
        ("shop/till@sha256:7".into(), "is not a digest"),
    ] {
        let why = images.resolve(&text).unwrap_err().to_string();
        assert!(why.contains(said), "{text}: {why}");
    }
    assert_ne!(till, app);
    let mut many = Images::default();
    let tags = ["1", "2", "3", "4", "5", "6", "7"];
    add(&mut many, "app", &tags, 1, vec![platform("amd64", "", 1, &[])]);
    let why = many.resolve("app:8").unwrap_err().to_string();
    assert!(why.ends_with("it has 1, 2, 3, 4, 5 and 2 more"), "{why}");
}

#[test]
fn a_file_is_named_by_the_digests_of_its_images_and_of_their_originals() {
    let (images, till, app) = some();
    let names = images.names_of_images_with(&Digest([1; 32]));
    let all = [till, app, Digest([100; 32]), Digest([101; 32])].map(|digest| digest.to_string());
    assert_eq!(names, all.into());
    assert_eq!(images.names_of_images_with(&Digest([10; 32])).len(), 2, "a configuration");
    assert!(images.names_of_images_with(&Digest([99; 32])).is_empty());
    assert_eq!(images.contents[&till].size(), 13);
    assert_eq!(images.contents[&app].size(), 20 + 21 + 1 + 3 + 4);
}

fn pushed(
    model: &mut crate::model::Model,
    name: &str,
    source: u8,
    platforms: Vec<Platform>,
) -> Digest {
    let twin = Twin::new(platforms).unwrap();
    for file in twin.files() {
        let record = crate::records::ArtifactRecord { size: file.size, created_at: 1 };
        model.artifacts.insert(file.digest, record);
    }
    let mut change = crate::change::Change::new(model, 7);
    let (sources, copied_from) = (vec![Digest([source; 32])], String::new());
    let name = name.parse().unwrap();
    let digest =
        push(&mut change, Pushed { name: &name, twin, sources, copied_from }, "me").unwrap();
    assert!(change.finish().defects.is_empty());
    digest
}

#[test]
fn an_original_means_the_image_with_the_most_of_its_platforms() {
    let mut model = crate::model::Model::empty("default".parse().unwrap());
    let (one, two) = (platform("amd64", "", 10, &[1]), platform("arm64", "", 11, &[2]));
    let means = |model: &crate::model::Model| {
        let text = format!("app@{}", Digest([100; 32]));
        model.images.resolve(&text).unwrap().digest
    };
    let part = pushed(&mut model, "app:part", 100, vec![one.clone()]);
    assert_eq!(means(&model), part);
    let whole = pushed(&mut model, "app:whole", 100, vec![one.clone(), two.clone()]);
    assert_eq!(means(&model), whole);
    let other = pushed(&mut model, "app:other", 100, vec![two]);
    assert_eq!(means(&model), whole, "a part takes nothing away from the whole");
    assert_ne!(other, whole);
    for source in 101..130 {
        pushed(&mut model, "app:part", source, vec![one.clone()]);
    }
    let name: Repository = "app".parse().unwrap();
    let held = &model.images.repositories[&name].images[&part];
    assert_eq!(held.sources.len(), MAX_SOURCES, "the newest");
    assert_eq!(held.sources.last(), Some(&Digest([129; 32])));
}

#[test]
fn a_tag_moves_and_what_it_meant_stays_by_its_digest() {
    let mut model = crate::model::Model::empty("default".parse().unwrap());
    let first = pushed(&mut model, "app:1", 1, vec![platform("amd64", "", 10, &[1])]);
    let second = pushed(&mut model, "app:1", 2, vec![platform("amd64", "", 11, &[1])]);
    assert_eq!(model.images.resolve("app:1").unwrap().digest, second);
    assert_eq!(model.images.resolve(&format!("app@{first}")).unwrap().digest, first);
    let mut change = crate::change::Change::new(&mut model, 8);
    let name = format!("app@{first}").parse().unwrap();
    let deleted = delete(&mut change, &name, false, "me").unwrap();
    assert_eq!((deleted.tags.len(), deleted.image), (0, true));
    assert_eq!(deleted.files, [Digest([10; 32])], "the layer is that of the other one too");
    let why = delete(&mut change, &name, false, "me").unwrap_err();
    assert!(matches!(why, Refusal::Unknown(_)), "{why}");
    let missing = Twin::new(vec![platform("amd64", "", 50, &[51])]).unwrap();
    let name = "app:2".parse().unwrap();
    let lost = Pushed { name: &name, twin: missing, sources: vec![], copied_from: String::new() };
    assert!(matches!(push(&mut change, lost, "me"), Err(Refusal::Missing(2, _))));
}
