'use strict'
// Haraka 3: each mail is rewritten when its data is complete. Add `toc` to config/plugins behind the plugins that verify
// signatures and before those that sign. Whatever fails is a temporary failure: the sender keeps the mail.

const fs = require('node:fs')
const http = require('node:http')
const https = require('node:https')
const { URL } = require('node:url') // plugins run in a context without it

exports.register = function () {
    const settings = this.config.get('toc.ini').main
    this.api = new URL('/v1/messages/rewrite', settings.api || 'http://127.0.0.1:8081')
    this.key = fs.readFileSync(settings.key_file || '/etc/toc/api-key', 'ascii').trim()
    this.milliseconds = (Number(settings.timeout) || 60) * 1000
}

exports.hook_data_post = function (next, connection) {
    const transaction = connection?.transaction
    if (!transaction) return next()
    new Promise((resolve) => transaction.message_stream.get_data(resolve))
        .then((raw) => this.ask(raw, connection, transaction))
        .then((rewritten) => rewritten && this.replace(transaction, rewritten))
        .then(
            () => next(),
            (error) => {
                connection.logerror(this, error.message)
                next(DENYSOFT, 'the links of this mail could not be protected now')
            },
        )
}

// The rewritten message, or null where it stays as it is.
exports.ask = function (raw, connection, transaction) {
    const address = (path) => Buffer.from(path.format().slice(1, -1), 'utf8').toString('latin1') // as node writes fields
    const headers = {
        Authorization: `Bearer ${this.key}`,
        'Content-Type': 'message/rfc822',
        'Content-Length': raw.length,
        'Toc-Sender': address(transaction.mail_from),
        'Toc-Recipient': transaction.rcpt_to.map(address),
        'Toc-Client-Address': connection.remote.ip,
        'Toc-Direction': connection.relaying ? 'outbound' : 'inbound',
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
exports.replace = function (transaction, rewritten) {
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
    return new Promise((resolve) => stream.add_line_end(resolve))
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
