//! A name server that knows some SRV records and nothing else.

use std::net::{SocketAddr, UdpSocket};

/// Answers on loopback until the process ends. `records`: name without the dot at its end, and the port of
/// `localhost` that it names. The address to ask.
pub fn serve(records: Vec<(String, u16)>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..bytes], &records) {
                // Who has gone needs no answer.
                socket.send_to(&answer, from).ok();
            }
        }
    });
    address
}

/// The answer to a message with one question.
fn answer(message: &[u8], records: &[(String, u16)]) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    while let length @ 1.. = usize::from(*message.get(at)?) {
        name.push_str(std::str::from_utf8(message.get(at + 1..at + 1 + length)?).ok()?);
        name.push('.');
        at += 1 + length;
    }
    // The name's end, type and class.
    let question = message.get(12..at + 5)?;
    let found: Vec<u16> = records
        .iter()
        .filter(|(known, _)| *known == name.trim_end_matches('.'))
        .map(|(_, port)| *port)
        .collect();
    let code = if found.is_empty() { 3 } else { 0 };
    let mut answer = message[..2].to_vec();
    for word in [0x8180 | code, 1, u16::try_from(found.len()).ok()?, 0, 0] {
        answer.extend_from_slice(&u16::to_be_bytes(word));
    }
    answer.extend_from_slice(question);
    for port in found {
        // The question's name, SRV, IN, a minute; then priority, weight, port, target.
        answer.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, 0, 0, 0]);
        answer.extend_from_slice(&port.to_be_bytes());
        answer.extend_from_slice(b"\x09localhost\0");
    }
    Some(answer)
}
