"""An OpenTelemetry collector on grpcio: prints each span that it is sent as a line of JSON.

Arguments: mode. `take` takes everything; `hang` takes requests and never answers. The first line has the
port.
"""
import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


def value(any_value):
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def members(attributes):
    return {attribute.key: value(attribute.value) for attribute in attributes}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        metadata = dict(context.invocation_metadata())
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    # In one piece: gateways send at the same time.
                    sys.stdout.write(json.dumps({
                        "resource": members(resource.resource.attributes),
                        "authorization": metadata.get("authorization"),
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "state": span.trace_state,
                        "name": span.name,
                        "kind": span.kind,
                        "began": span.start_time_unix_nano,
                        "ended": span.end_time_unix_nano,
                        "failure": span.status.message,
                        "attributes": members(span.attributes),
                    }) + "\n")
                    sys.stdout.flush()
        if sys.argv[1] == "hang":
            threading.Event().wait()
        return trace_service_pb2.ExportTraceServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(json.dumps({"port": port}), flush=True)
server.wait_for_termination()
