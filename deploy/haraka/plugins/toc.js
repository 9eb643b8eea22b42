'use strict'
// Haraka 3: each mail is rewritten when its data is complete. Add `toc` to config/plugins behind the plugins that verify
// signatures and before those that sign. Whatever fails is a temporary failure: the sender keeps the mail.

const fs = require('node:fs')
const http = require('node:http')
const https = require('node:https')

exports.register = function () {
    const settings = this.config.get('toc.ini').main
    this.api = new URL('/v1/messages/rewrite', settings.api || 'http://127.0.0.1:8081')
    this.key = fs.readFileSync(settings.key_file || '/etc/toc/api-key', 'ascii').trim()
    this.milliseconds = (Number(settings.timeout) || 60) * 1000
}

exports.hook_data_post = function (next, connection) {
    const transaction = connection?.transaction
    if (!transaction) return next()
    transaction.message_stream.get_data((raw) => {
        this.ask(raw, connection).then(
            (rewritten) => {
                if (rewritten) return this.replace(transaction, rewritten, next)
                next()
            },
            (error) => {
                connection.logerror(this, error.message)
                next(DENYSOFT, 'the links of this mail could not be protected now')
            },
        )
    })
}

// The rewritten message, or null where it stays as it is.
exports.ask = function (raw, connection) {
    const { transaction, relaying } = connection
    const utf8 = (text) => Buffer.from(text, 'utf8').toString('latin1') // node writes header values as latin1
    const headers = {
        Authorization: `Bearer ${this.key}`,
        'Content-Type': 'message/rfc822',
        'Content-Length': raw.length,
        'Toc-Sender': utf8(transaction.mail_from.address()),
        'Toc-Recipient': transaction.rcpt_to.map((recipient) => utf8(recipient.address())),
        'Toc-Client-Address': connection.remote.ip,
        'Toc-Direction': relaying ? 'outbound' : 'inbound',
    }
    const { request } = this.api.protocol === 'https:' ? https : http
    return new Promise((resolve, reject) => {
        const call = request(this.api, { method: 'POST', headers, timeout: this.milliseconds }, (answer) => {
            const chunks = []
            answer.on('data', (chunk) => chunks.push(chunk))
            answer.on('error', reject)
            answer.on('end', () => {
                if (!answer.complete) return reject(new Error('the answer was cut off'))
                if (answer.headers['toc-disposition']) return reject(new Error('a part could not be read'))
                if (answer.statusCode === 204) return resolve(null)
                if (answer.statusCode === 200) return resolve(Buffer.concat(chunks))
                reject(new Error(`the answer was ${answer.statusCode}`))
            })
        })
        call.on('timeout', () => call.destroy(new Error('no answer in time')))
        call.on('error', reject)
        call.end(raw)
    })
}

// Put `rewritten` in the place of the message, header and body, as Haraka's transaction would have read it.
exports.replace = function (transaction, rewritten, next) {
    const Header = transaction.header.constructor
    const Stream = transaction.message_stream.constructor
    const lines = split(rewritten)
    const end = lines.findIndex((line) => line.length === 2)
    const header = new Header()
    header.parse(lines.slice(0, end < 0 ? lines.length : end).map((line) => line.toString(transaction.encoding).replace(/\r\n$/, '\n')))
    const stream = new Stream(transaction.cfg, `${transaction.uuid}.toc`, header.header_list)
    for (const line of lines) {
        stream.add_line(line[0] === 0x2e ? Buffer.concat([Buffer.from('.'), line]) : line) // as it came over SMTP
    }
    transaction.message_stream.destroy()
    transaction.header = header
    transaction.message_stream = stream
    stream.add_line_end(() => next())
}

function split(raw) {
    const lines = []
    for (let start = 0; start < raw.length; ) {
        const found = raw.indexOf('\r\n', start)
        const end = found < 0 ? raw.length : found + 2
        lines.push(raw.subarray(start, end))
        start = end
    }
    return lines
}
