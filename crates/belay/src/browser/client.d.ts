/** An error of an invocation: an HTTP status, 0 if none was ever received. */
export interface BcapError {
  readonly status: number;
  readonly message: string;
  readonly reason?: string;
}
