/** What the kernel says about a request: NLMSG_ERROR and NLMSG_DONE with extended acknowledgement text (NETLINK_EXT_ACK). */
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSGERR_ATTR_MSG } from './constants.ts'
import type { Message, MessageReader } from './wire.ts'

export interface Ack {
  /** Positive errno, 0 for success. */
  readonly errno: number
  readonly text: string
}

export function readAck(reader: MessageReader, message: Message): Ack {
  if (message.to - message.from < 4) return { errno: 0, text: '' }
  const errno = -reader.i32(message.from)
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, text: '' }
  // struct nlmsgerr holds the request's header, and the request itself unless it was capped; NLMSG_DONE holds neither.
  let at = message.from + 4
  if (message.type !== NLMSG_DONE) at += (message.flags & NLM_F_CAPPED) !== 0 ? 16 : Math.max(16, (reader.u32(at) + 3) & ~3)
  let text = ''
  reader.eachAttribute(at, message.to, (type, from, to) => {
    if (type === NLMSGERR_ATTR_MSG) text = reader.text(from, to)
  })
  return { errno, text }
}
