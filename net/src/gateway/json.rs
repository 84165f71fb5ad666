//! Messages of the API as JSON, by their descriptors: proto3's mapping with the names of the `.proto` files.
//!
//! Source: etcd 3.7.1 server/embed/serve.go (registerGateway: UseProtoNames, EmitUnpopulated off, DiscardUnknown).

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions,
};
use tonic::Status;

use super::routes::ROUTES;

/// A method as the gateway calls it.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    input: MessageDescriptor,
    output: MessageDescriptor,
    pub takes_stream: bool,
    pub gives_stream: bool,
}

/// Every method by its path.
pub fn methods() -> HashMap<&'static str, Method> {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    let pool = DescriptorPool::decode(&bytes[..]).expect("the descriptors that the build wrote");
    let find = |service: &str, method: &str| {
        let service = pool.get_service_by_name(service).expect("routes name our services");
        service.methods().find(|known| known.name() == method).expect("routes name our methods")
    };
    ROUTES.iter().map(|(path, service, method)| (*path, Method::new(&find(service, method)))).collect()
}

impl Method {
    fn new(method: &MethodDescriptor) -> Method {
        Method {
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            input: method.input(),
            output: method.output(),
            takes_stream: method.is_client_streaming(),
            gives_stream: method.is_server_streaming(),
        }
    }

    /// The gRPC frame of a request. Nothing at all is a request without fields; what follows the first value is passed
    /// over, and so are unknown fields, as in etcd.
    /// Errors: `InvalidArgument`, with the place.
    pub fn frame_of(&self, json: &[u8]) -> Result<Bytes, Status> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(frame(&DynamicMessage::new(self.input.clone())));
        }
        let mut from = serde_json::Deserializer::from_slice(json);
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let message = DynamicMessage::deserialize_with_options(self.input.clone(), &mut from, &options);
        let message = message
            .map_err(|error| Status::invalid_argument(format!("{}: {error}", self.input.full_name())))?;
        Ok(frame(&message))
    }

    /// A reply as JSON.
    pub fn json_of(&self, reply: Bytes) -> Result<Vec<u8>, Status> {
        let unreadable = |why: String| Status::internal(format!("{}: {why}", self.output.full_name()));
        let message = DynamicMessage::decode(self.output.clone(), reply);
        let message = message.map_err(|error| unreadable(error.to_string()))?;
        let mut json = Vec::with_capacity(message.encoded_len() * 2);
        let options = SerializeOptions::new().use_proto_field_name(true);
        message
            .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(json)
    }
}

/// Shape: a flag byte, a big-endian length of four bytes, the message.
fn frame(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("bodies are bounded far below 4 GiB"));
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

/// How far the first JSON value of `bytes` reaches; `None` while it is not whole.
/// Errors: no value can come of it.
pub fn whole_value(bytes: &[u8]) -> Result<Option<usize>, Status> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        None => Ok(None),
        Some(Ok(_)) => Ok(Some(values.byte_offset())),
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// A refusal's body.
/// Source: google.rpc.Status in JSON, grpc-gateway v2 runtime/errors.go (DefaultHTTPErrorHandler).
pub fn refusal_json(status: &Status) -> serde_json::Value {
    match status.message() {
        "" => serde_json::json!({ "code": status.code() as i32 }),
        message => serde_json::json!({ "code": status.code() as i32, "message": message }),
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
