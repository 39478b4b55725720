//! What people and spreadsheets write.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Vec<(u64, String, Change)> {
    let (rows, faults) = parse(text);
    assert_eq!(faults, Faults::default(), "{text:?}");
    let rows = rows.into_iter();
    rows.map(|row| (row.line, row.key.to_string(), row.change))
        .collect()
}

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text).1.to_string();
    faults.lines().map(str::to_owned).collect()
}

#[test]
fn one_table_in_the_dialects_of_spreadsheets_is_the_same() {
    let expected = Change {
        model: Some("lamp".parse().ok()),
        name: Some(Some(String::from("Küche, \"links\"; oben"))),
        mac: Some(Some(String::from("aabbcc001122"))),
        ..Change::default()
    };
    for text in [
        "key,model,name,mac\nK1,lamp,\"Küche, \"\"links\"\"; oben\",AA:BB:CC:00:11:22\n",
        "\u{FEFF}Key;Model;Name;MAC\r\nk1;lamp;\"Küche, \"\"links\"\"; oben\";aabbcc001122\r\n;;;\r\n",
        "mac\tname\tkey\tmodel\naa-bb-cc-00-11-22\t\"Küche, \"\"links\"\"; oben\"\tk1\tlamp",
        "key;model;name;mac;\nk1; lamp ;\"Küche, \"\"links\"\"; oben\";AABBCC001122;\n",
    ] {
        assert_eq!(read(text), [(2, String::from("k1"), expected.clone())]);
    }
}

#[test]
fn an_empty_cell_leaves_the_value_as_it_is() {
    let rows = read("key,name,hw\nk1,,\nk2,Hall,\n");
    assert_eq!(rows[0].2, Change::default());
    let hall = Change {
        name: Some(Some(String::from("Hall"))),
        ..Change::default()
    };
    assert_eq!(rows[1].2, hall);
}

#[test]
fn all_faults_are_told_with_line_and_column() {
    let text = "key,model,mac\nk 1,Lamp,12\nk2,lamp\n\n,lamp,\nk3,lamp,AA:BB:CC:00:11:22\n";
    assert_eq!(
        faults(text),
        [
            "line 2, key: a device key is 1 to 64 letters and digits",
            "line 2, model: a model code is 1 to 50 of a-z, 0-9 and _",
            "line 2, mac: a MAC address is twelve hex digits, with or without colons",
            "line 3: 2 columns instead of 3",
            "line 5, key: missing",
        ]
    );
}

#[test]
fn a_file_without_a_proper_heading_is_refused() {
    for (text, expected) in [
        ("", "line 1: the file is empty"),
        ("\n\n", "line 1: the file is empty"),
        (
            "k1,lamp\n",
            "line 1: unknown column \"k1\"; there are key, model, name, mac, usb_serial, hw",
        ),
        (
            "model\nlamp\n",
            "line 1, key: no heading with this column in the first line",
        ),
        ("key,model,key\n", "line 1, key: this column is there twice"),
    ] {
        assert_eq!(faults(text)[0], expected, "{text:?}");
    }
    assert_eq!(
        faults("key;\nk1;x\n"),
        ["line 2: a value in a column without a heading"]
    );
}

#[test]
fn what_is_no_utf_8_is_told_with_its_line() {
    let windows = b"key;name\r\nk1;Bad\r\nk2;K\xFCche\r\n";
    let told = text_of(windows).unwrap_err().to_string();
    assert_eq!(told, "line 3: not UTF-8: save the file as \"CSV UTF-8\"");
    assert_eq!(text_of(b"\xEF\xBB\xBFkey").unwrap(), "key");
    assert!(text_of(&vec![b'x'; MAX_BYTES + 1]).is_err());
}

#[test]
fn of_very_many_faults_the_first_are_told() {
    let text = format!("key\n{}", "!\n".repeat(1000));
    let told = faults(&text);
    assert_eq!(told.len(), MAX_TOLD + 1);
    assert_eq!(told[MAX_TOLD], "and 950 more");
    let rows: String = (0..=MAX_ROWS).map(|n| format!("k{n}\n")).collect();
    assert_eq!(
        faults(&format!("key\n{rows}")),
        ["line 10002: more than 10000 devices"]
    );
}

#[test]
fn a_cell_that_a_spreadsheet_would_calculate_is_marked() {
    let device = Device {
        device_key: String::from("k1"),
        name: Some(String::from("=1+1")),
        ..Device::default()
    };
    let mut bytes = Vec::new();
    write(&mut bytes, std::iter::once(&device)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text, "key,model,name,mac,usb_serial,hw\r\nk1,,'=1+1,,,\r\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(name in "\\PC{1,20}|[=+@'\",;\r\n\t -]{1,6}", hw in "[a-z=' ]{1,8}") {
        prop_assume!(!name.trim().is_empty() && !hw.trim().is_empty());
        let device = Device {
            device_key: String::from("k1"),
            name: Some(name.clone()),
            hw: Some(hw.clone()),
            ..Device::default()
        };
        let mut bytes = Vec::new();
        write(&mut bytes, std::iter::once(&device)).unwrap();
        let (rows, faults) = parse(text_of(&bytes).unwrap());
        prop_assert_eq!(faults, Faults::default());
        prop_assert_eq!(rows[0].change.name.clone(), Some(Some(name)));
        prop_assert_eq!(rows[0].change.hw.clone(), Some(Some(hw)));
    }

    #[test]
    fn whatever_is_in_a_file_is_read_or_refused(text in "(key|name|[,;\t\r\n\"']|k1|\\PC){0,40}") {
        let _ = parse(&text);
    }
}
