//! Bytes as typed values: decoded or refused, and what was decoded is written as it was read.

use gannet::Value;

pub(super) fn run(input: &[u8]) {
    let Ok(value) = Value::decode(input) else { return };
    let bytes = value.encode().expect("what was decoded can be encoded");
    assert!(bytes.len() <= input.len(), "numbers are written as short as they can be");
    let again = Value::decode(&bytes).expect("what was encoded can be decoded");
    // Of numbers that are none, no two are equal.
    assert_eq!(again.encode().as_ref(), Ok(&bytes));
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let list = Value::List(vec![
        Value::Null,
        true.into(),
        (-300).into(),
        0.25.into(),
        "text".into(),
        Value::Bytes(vec![0, 255]),
    ]);
    let fields = [("list".to_owned(), list.clone()), ("b".to_owned(), Value::List(vec![list]))];
    let values = [Value::Null, Value::Int(i64::MIN), Value::Map(fields.into())];
    values.iter().map(|value| value.encode().expect("neither deep nor long")).collect()
}
